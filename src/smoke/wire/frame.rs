//! Frames on any stream: a message's length in four bytes, little-endian, and the message as JSON.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

/// Maximum length of a message in bytes; a longer one is refused unread. NIXL's metadata takes a few kilobytes for each rail.
pub(crate) const FRAME_LIMIT: usize = 16 << 20;

/// Writes one frame.
///
/// # Errors
/// Where the message exceeds [`FRAME_LIMIT`], or the stream fails.
pub(crate) fn send<T: Serialize>(stream: &mut impl Write, message: &T) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > FRAME_LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, too_long(length, FRAME_LIMIT)));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    stream.write_all(&frame)?;
    stream.flush()
}

/// Reads one frame; None where the stream ends between frames.
///
/// # Errors
/// Where the message exceeds [`FRAME_LIMIT`] or is not a `T`, or the stream fails or ends inside a frame.
pub(crate) fn receive<T: for<'de> Deserialize<'de>>(stream: &mut impl Read) -> io::Result<Option<T>> {
    receive_within(stream, FRAME_LIMIT)
}

/// Like [`receive`], for a message of at most `limit` bytes.
pub(crate) fn receive_within<T: for<'de> Deserialize<'de>>(
    stream: &mut impl Read,
    limit: usize,
) -> io::Result<Option<T>> {
    let mut header = [0; 4];
    let mut filled = 0;
    while filled < header.len() {
        match stream.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_le_bytes(header) as usize;
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, too_long(length, limit)));
    }
    let mut body = Vec::new();
    stream.take(length as u64).read_to_end(&mut body)?;
    if body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(serde_json::from_slice(&body)?))
}

fn too_long(length: usize, limit: usize) -> String {
    format!("a message of {length} bytes exceeds the limit of {limit} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::stage::Stage;
    use crate::smoke::wire::blob::Blob;
    use crate::smoke::wire::worker::{FromWorker, PeerMessage};

    fn introduction() -> FromWorker {
        FromWorker::Peer(PeerMessage::Introduction { metadata: Blob(vec![0, 255, 10]), address: u64::MAX })
    }

    #[test]
    fn frames_round_trip() {
        let mut wire = Vec::new();
        send(&mut wire, &introduction()).unwrap();
        send(&mut wire, &FromWorker::Stage(Stage::Compare)).unwrap();
        let mut wire = wire.as_slice();
        assert_eq!(receive::<FromWorker>(&mut wire).unwrap(), Some(introduction()));
        assert_eq!(receive::<FromWorker>(&mut wire).unwrap(), Some(FromWorker::Stage(Stage::Compare)));
        assert_eq!(receive::<FromWorker>(&mut wire).unwrap(), None);
    }

    #[test]
    fn a_stream_that_ends_inside_a_frame_is_an_error() {
        let mut wire = Vec::new();
        send(&mut wire, &introduction()).unwrap();
        for length in 1..wire.len() {
            assert!(receive::<FromWorker>(&mut &wire[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_message_over_the_limit_is_refused_unread() {
        let mut wire = ((FRAME_LIMIT + 1) as u32).to_le_bytes().to_vec();
        wire.extend([b' '; 64]);
        let mut wire = wire.as_slice();
        assert!(receive::<FromWorker>(&mut wire).is_err());
        assert_eq!(wire.len(), 64);
        assert!(send(&mut Vec::new(), &Blob(vec![0; FRAME_LIMIT])).is_err());
    }

    #[test]
    fn another_document_is_an_error() {
        let mut wire = 2u32.to_le_bytes().to_vec();
        wire.extend(b"{}");
        assert!(receive::<FromWorker>(&mut wire.as_slice()).is_err());
    }
}
