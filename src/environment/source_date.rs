//! The time that a reproducible build has.
//!
//! Source: <https://reproducible-builds.org/specs/source-date-epoch/>: seconds since 1970, in digits. Times after it are
//! replaced by it. A malformed value should end the build.

use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};

use super::variables::Variables;

/// The variable with that time.
const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// The latest time that a written file may have; None where any will do. An empty variable counts as none: a Dockerfile's
/// `ARG` without a value is one.
///
/// # Errors
/// When the variable is no number of seconds.
pub(crate) fn latest(variables: &Variables) -> Result<Option<SystemTime>> {
    let Some(value) = variables.non_empty(VARIABLE) else { return Ok(None) };
    let digits = value.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(seconds) = digits.and_then(|text| text.parse().ok()) else {
        bail!(
            "`{VARIABLE}` is `{}`, not a number of seconds since 1970\n\
             help: set it as `date +%s` or `git log -1 --format=%ct` prints it, or unset it",
            value.to_string_lossy().escape_debug()
        );
    };
    Ok(SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_a_time_and_nothing_else_is() {
        let of = |value: &str| latest(&[("SOURCE_DATE_EPOCH", value)].into_iter().collect());
        let time = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(of("").unwrap(), None);
        assert_eq!(of("0").unwrap(), time(0));
        assert_eq!(of("1700000000").unwrap(), time(1_700_000_000));
        assert_eq!(of(&u64::MAX.to_string()).unwrap(), None, "later than any clock");
        for value in ["-1", "+1", "1.5", " 1", "1 ", "now", "0x10", "99999999999999999999"] {
            let error = of(value).unwrap_err().to_string();
            assert!(error.contains(&format!("`SOURCE_DATE_EPOCH` is `{value}`")), "{error}");
        }
        assert_eq!(latest(&Variables::default()).unwrap(), None);
    }
}
