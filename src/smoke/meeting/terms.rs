//! Negotiation: the connecting side offers transfers, the listening side agrees or refuses.

use std::fmt::Display;
use std::io;
use std::time::{Duration, Instant};

use super::connection::{Connection, own_host, own_kernel, printable};
use super::failure::failure;
use super::message::{self, Answer, Message, Offer, Offered, Rejection, Terms};
use crate::choice::backend::Backend;
use crate::report::smoke::Failure;
use crate::smoke::plan::Plan;
use crate::smoke::plan::engine::{EngineChoice, EngineKind};
use crate::smoke::plan::pair::Pair;
use crate::smoke::plan::role::Role;

/// Longest offer or answer, in bytes.
const MAX_FRAME: usize = 16 << 10;
/// Limit for the peer's offer or answer.
const NEGOTIATION_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest payload, in bytes, that is accepted without the same `--size` on the listening side, whose memory it takes.
const MAX_UNCONFIRMED_SIZE: u64 = 1 << 30;
const MAX_ITERATIONS: u32 = 1_000_000;
const MAX_TRANSFERS: usize = 8;
const MAX_BACKENDS: usize = 8;
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// What the listening side's user asked for, without defaults.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// The backends of its own agents, if any were named.
    pub backends: Vec<Backend>,
    /// The payload's size, in bytes.
    pub size: Option<u64>,
    /// The number of large messages.
    pub iterations: Option<u32>,
    /// What moves the bytes.
    pub engine: EngineChoice,
}

/// The connecting side: offers these plans, and returns them as agreed.
///
/// # Errors
/// If this side cannot run them, the peer refuses, or the negotiation fails.
pub(crate) fn offer(connection: &mut Connection, plans: Vec<Plan>) -> Result<Vec<Plan>, Failure> {
    let Some(first) = plans.first() else { return Ok(plans) };
    for plan in &plans {
        can_load(plan).map_err(|rejection| failure(rejection.reason, &rejection.advice))?;
    }
    let until = Instant::now() + NEGOTIATION_TIMEOUT.min(first.timeout);
    let offer = Message::Offer(Offer {
        host: own_host(),
        nixl_version: first.nixl.version.clone(),
        kernel: own_kernel(),
        transfers: plans.iter().map(offered).collect(),
        size: first.size,
        iterations: first.iterations,
        memory: first.memory,
        seed: first.seed,
        timeout_ms: milliseconds(first.timeout),
        require_fabric: first.require_fabric,
    });
    let answered = connection.send(&offer, until).and_then(|()| connection.receive(MAX_FRAME, until));
    match answered {
        Ok(Message::Answer(Answer::Agreed(terms))) => {
            name_peer(connection, &terms.host, terms.nixl_version, terms.kernel);
            let timeout = Duration::from_millis(terms.timeout_ms).min(first.timeout);
            let require_fabric = first.require_fabric.stricter(terms.require_fabric);
            let seed = first.seed;
            Ok(plans.into_iter().map(|plan| Plan { seed, timeout, require_fabric, ..plan }).collect())
        }
        Ok(Message::Answer(Answer::Refused(rejection))) => {
            Err(failure(format!("the listening side refuses the offer: {}", rejection.reason), &rejection.advice))
        }
        Ok(_) => Err(failed(connection, &out_of_turn())),
        Err(error) => Err(failed(connection, &error)),
    }
}

/// The listening side: accepts an offer; `template` decides what the offer leaves open.
///
/// # Errors
/// If the offer is refused, or the negotiation fails.
pub(crate) fn accept(connection: &mut Connection, template: &Plan, given: &Given) -> Result<Vec<Plan>, Failure> {
    let until = Instant::now() + NEGOTIATION_TIMEOUT.min(template.timeout);
    let offer = match connection.receive(MAX_FRAME, until) {
        Ok(Message::Offer(offer)) => offer,
        Ok(Message::Answer(Answer::Refused(rejection))) => {
            return Err(failure(
                format!("the connecting side offers nothing: {}", rejection.reason),
                &rejection.advice,
            ));
        }
        Ok(_) => return Err(failed(connection, &out_of_turn())),
        Err(error) => return Err(failed(connection, &error)),
    };
    name_peer(connection, &offer.host, offer.nixl_version.clone(), offer.kernel.clone());
    let agreed = agree(&offer, template, given);
    let (answer, result) = match agreed {
        Ok(plans) => (Answer::Agreed(terms(template, plans.first())), Ok(plans)),
        Err(rejection) => {
            let message = format!("this side refuses the offer of {}: {}", connection.describe(), rejection.reason);
            let failure = failure(message, &rejection.advice);
            (Answer::Refused(rejection), Err(failure))
        }
    };
    connection.send(&Message::Answer(answer), until).map_err(|error| failed(connection, &error))?;
    result
}

/// Tells the peer that there will be no transfer, and why: in place of an offer, or as the answer to one.
///
/// # Errors
/// If the peer cannot be told.
pub(crate) fn decline(connection: &mut Connection, rejection: Rejection, limit: Duration) -> io::Result<()> {
    let until = Instant::now() + NEGOTIATION_TIMEOUT.min(limit);
    if connection.role == Role::Target {
        connection.receive(MAX_FRAME, until)?;
    }
    connection.send(&Message::Answer(Answer::Refused(rejection)), until)
}

fn name_peer(connection: &mut Connection, host: &str, nixl_version: Option<String>, kernel: Option<String>) {
    connection.peer.host = printable(host);
    connection.peer.nixl_version = nixl_version.as_deref().map(printable);
    connection.peer.kernel = kernel;
}

fn offered(plan: &Plan) -> Offered {
    let [initiator, target] = Role::ALL.map(|role| names(plan.pair.of(role)));
    Offered { initiator, target, principal: plan.principal, engine: plan.engine.kind }
}

fn names(backends: &[Backend]) -> Vec<String> {
    backends.iter().map(|backend| backend.name().into()).collect()
}

fn terms(template: &Plan, agreed: Option<&Plan>) -> Terms {
    let plan = agreed.unwrap_or(template);
    Terms {
        host: own_host(),
        nixl_version: plan.nixl.version.clone(),
        kernel: own_kernel(),
        timeout_ms: milliseconds(plan.timeout),
        require_fabric: plan.require_fabric,
    }
}

fn milliseconds(timeout: Duration) -> u64 {
    timeout.as_millis() as u64
}

/// The plans that an offer leads to.
fn agree(offer: &Offer, template: &Plan, given: &Given) -> Result<Vec<Plan>, Rejection> {
    check_range("transfers in one offer", offer.transfers.len(), MAX_TRANSFERS)?;
    // This side's agents have the backends that its user named, and no others.
    let own = names(&given.backends);
    let is_other = |name: &&String| !own.is_empty() && !own.contains(*name);
    if let Some(other) = offer.transfers.iter().flat_map(|transfer| &transfer.target).find(is_other) {
        return Err(rejection(format!(
            "`--backend` is {} on the listening side, and the connecting side wants {other} there",
            own.join(",")
        )));
    }
    check_size(offer.size, given.size)?;
    if offer.memory != template.memory {
        return Err(differs("--memory", template.memory, offer.memory));
    }
    if let Some(iterations) = given.iterations.filter(|iterations| *iterations != offer.iterations) {
        return Err(differs("--iterations", iterations, offer.iterations));
    }
    check_range("iterations", offer.iterations, MAX_ITERATIONS)?;
    let timeout = Duration::from_millis(offer.timeout_ms).clamp(Duration::from_millis(1), MAX_TIMEOUT);
    let template = Plan {
        size: offer.size,
        iterations: offer.iterations,
        seed: offer.seed,
        timeout: timeout.min(template.timeout),
        require_fabric: template.require_fabric.stricter(offer.require_fabric),
        ..template.clone()
    };
    offer.transfers.iter().map(|transfer| plan(&template, given.engine, transfer)).collect()
}

fn rejection(reason: String) -> Rejection {
    let advice = "give both sides the same options; the connecting side decides what the listening side does not name";
    Rejection { reason, advice: advice.into() }
}

fn differs(option: &str, listening: impl Display, connecting: impl Display) -> Rejection {
    rejection(format!("`{option}` is {listening} on the listening side and {connecting} on the connecting side"))
}

fn check_range<T: Display + PartialOrd + From<u8> + Copy>(what: &str, count: T, most: T) -> Result<(), Rejection> {
    if (T::from(1)..=most).contains(&count) {
        Ok(())
    } else {
        Err(rejection(format!("{count} {what}, expected 1 to {most}")))
    }
}

fn check_size(size: u64, given: Option<u64>) -> Result<(), Rejection> {
    match given {
        Some(given) if given != size => Err(differs("--size", given, size)),
        Some(_) => Ok(()),
        None if (1..=MAX_UNCONFIRMED_SIZE).contains(&size) => Ok(()),
        None => Err(Rejection {
            reason: format!(
                "a payload of {size} bytes was not asked for on the listening side (at most 1 GiB without `--size`)"
            ),
            advice: "name the same `--size` on both sides".into(),
        }),
    }
}

/// `--engine auto` follows the connecting side: the two engines cannot talk to each other.
fn plan(template: &Plan, choice: EngineChoice, transfer: &Offered) -> Result<Plan, Rejection> {
    let pair = Pair { initiator: backends(&transfer.initiator)?, target: backends(&transfer.target)? };
    let choice = match (choice, transfer.engine) {
        (EngineChoice::Auto, EngineKind::Nixl) => EngineChoice::Nixl,
        (EngineChoice::Auto, EngineKind::Ucp | EngineKind::Libfabric) => EngineChoice::Native,
        (given, _) => given,
    };
    let title = pair.title();
    let plan = template.with_pair(pair, choice, transfer.principal);
    let ours = plan.engine.kind;
    if ours != transfer.engine {
        let theirs = transfer.engine.name();
        return Err(Rejection {
            reason: format!(
                "{theirs} would move the bytes of {title} on the connecting side, and {} on the listening side",
                ours.name()
            ),
            advice: "use `--engine native`, or `--engine nixl`, on both sides".into(),
        });
    }
    can_load(&plan).map(|()| plan)
}

fn backends(names: &[String]) -> Result<Vec<Backend>, Rejection> {
    check_range("backends in one agent", names.len(), MAX_BACKENDS)?;
    let backend = |name: &String| name.parse().map_err(|error| rejection(format!("`{name}`: {error}")));
    names.iter().map(backend).collect()
}

/// Refuses a NIXL without the library that the engine needs.
fn can_load(plan: &Plan) -> Result<(), Rejection> {
    if plan.engine.library.is_some() {
        return Ok(());
    }
    Err(Rejection {
        reason: format!("{} on {} has no C API (`libnixl_capi.so`)", plan.nixl.title(), own_host()),
        advice: "install NIXL 0.10.1 or newer there, which has the C API, or use `--engine native` on both sides"
            .into(),
    })
}

fn out_of_turn() -> io::Error {
    io::Error::other("it sent a message out of turn")
}

fn failed(connection: &mut Connection, error: &io::Error) -> Failure {
    connection.close();
    let peer = connection.describe();
    if error.kind() == io::ErrorKind::InvalidData {
        let what = message::unreadable(&connection.peer.program, error);
        return failure(
            format!("{peer} authenticated, but negotiation failed: it {what}"),
            "use the same nixl-retrofit on both sides",
        );
    }
    failure(
        format!("{peer} authenticated, but negotiation failed: {error}"),
        "check what nixl-retrofit says on that machine",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::nixl::NixlInstallation;
    use crate::smoke::plan::fabric::RequiredFabric;
    use crate::smoke::plan::memory::Memory;

    fn template() -> Plan {
        crate::smoke::plan::tests::plan(Backend::Ucx)
    }

    fn with_capi(mut plan: Plan) -> Plan {
        plan.nixl = NixlInstallation { capi: Some("/x/libnixl_capi.so".into()), ..plan.nixl };
        plan
    }

    fn offer_of(backends: &[(&str, EngineKind)], size: u64) -> Offer {
        let transfers = backends.iter().map(|(backend, engine)| Offered {
            initiator: vec![(*backend).into()],
            target: vec![(*backend).into()],
            principal: true,
            engine: *engine,
        });
        Offer {
            host: "a".into(),
            nixl_version: None,
            kernel: None,
            transfers: transfers.collect(),
            size,
            iterations: 4,
            memory: Memory::Dram,
            seed: 1,
            timeout_ms: 1000,
            require_fabric: RequiredFabric::Rdma,
        }
    }

    /// Reason and advice.
    fn text(rejection: Rejection) -> String {
        format!("{} {}", rejection.reason, rejection.advice)
    }

    fn agreed(offer: &Offer, given: &Given) -> Result<Vec<Plan>, String> {
        agree(offer, &with_capi(template()), given).map_err(text)
    }

    const UCX: (&str, EngineKind) = ("UCX", EngineKind::Nixl);

    const NOTHING: Given = Given { backends: Vec::new(), size: None, iterations: None, engine: EngineChoice::Auto };

    #[test]
    fn the_connecting_side_decides_what_the_listening_side_leaves_open() {
        let offer = offer_of(&[("LIBFABRIC", EngineKind::Libfabric), UCX], 12345);
        let plans = agreed(&offer, &NOTHING).unwrap();
        let chosen: Vec<_> = plans.iter().map(|plan| (plan.backend(), plan.engine.kind)).collect();
        assert_eq!(chosen, [(Backend::Libfabric, EngineKind::Libfabric), (Backend::Ucx, EngineKind::Nixl)]);
        for plan in plans {
            assert_eq!((plan.size, plan.iterations, plan.timeout.as_millis()), (12345, 4, 1000));
            assert_eq!(plan.require_fabric, RequiredFabric::Rdma);
        }
    }

    #[test]
    fn options_of_the_listening_side_must_be_the_same() {
        let offer = offer_of(&[UCX], 4096);
        let refused = |given| agreed(&offer, &given).unwrap_err();
        let same = Given { backends: vec![Backend::Ucx], size: Some(4096), iterations: Some(4), ..NOTHING };
        assert!(agreed(&offer, &same).is_ok());
        let words = refused(Given { backends: vec![Backend::Libfabric], ..same.clone() });
        assert!(
            words.contains("`--backend` is LIBFABRIC on the listening side, and the connecting side wants UCX there"),
            "{words}"
        );
        let both = Given { backends: vec![Backend::Libfabric, Backend::Ucx], ..same.clone() };
        assert!(agreed(&offer, &both).is_ok());
        assert!(refused(Given { size: Some(4097), ..same.clone() }).contains("`--size` is 4097 on"));
        assert!(refused(Given { iterations: Some(5), ..same }).contains("`--iterations` is 5 on"));
        let vram = Offer { memory: Memory::Vram(0), ..offer_of(&[UCX], 4096) };
        assert!(agreed(&vram, &NOTHING).unwrap_err().contains("`--memory` is dram on the listening side and vram:0"));
    }

    #[test]
    fn a_greedy_offer_is_refused() {
        let huge = offer_of(&[UCX], MAX_UNCONFIRMED_SIZE + 1);
        assert!(agreed(&huge, &NOTHING).unwrap_err().contains("--size"));
        assert!(agreed(&huge, &Given { size: Some(MAX_UNCONFIRMED_SIZE + 1), ..NOTHING }).is_ok());
        assert!(agreed(&offer_of(&[UCX], 0), &NOTHING).is_err());
        assert!(agreed(&offer_of(&[], 1), &NOTHING).is_err());
        assert!(agreed(&offer_of(&[UCX; 9], 1), &NOTHING).is_err());
        assert!(agreed(&offer_of(&[("GDS", EngineKind::Nixl)], 1), &NOTHING).unwrap_err().contains("GDS"));
        for iterations in [0, 1_000_001] {
            assert!(agreed(&Offer { iterations, ..offer_of(&[UCX], 1) }, &NOTHING).is_err());
        }
    }

    #[test]
    fn engines_that_cannot_talk_to_each_other_are_refused() {
        let native = Given { engine: EngineChoice::Native, ..NOTHING };
        let words = agreed(&offer_of(&[UCX], 1), &native).unwrap_err();
        assert!(
            words.contains(
                "NIXL would move the bytes of UCX on the connecting side, and UCX itself on the listening side"
            ),
            "{words}"
        );
        let words = text(agree(&offer_of(&[UCX], 1), &template(), &NOTHING).unwrap_err());
        assert!(words.contains("libnixl_capi.so") && words.contains("--engine native"), "{words}");
        assert!(agreed(&offer_of(&[("UCX", EngineKind::Libfabric)], 1), &NOTHING).is_err());
    }
}
