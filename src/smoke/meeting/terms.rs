//! What is transferred: the connecting end offers, the listening end agrees or refuses.

use std::time::{Duration, Instant};

use super::connection::{Connection, own_host, shown_host};
use super::failure::failure;
use super::message::{Answer, Message, Offer, Offered, Terms};
use crate::choice::backend::Backend;
use crate::report::smoke::Failure;
use crate::smoke::plan::Plan;
use crate::smoke::plan::engine::{EngineChoice, EngineKind};
use crate::smoke::plan::pair::Pair;
use crate::smoke::plan::role::Role;

/// An offer or an answer is no longer than this.
const FRAME: usize = 16 << 10;
/// How long the other end may take for either.
const PATIENCE: Duration = Duration::from_secs(10);
/// A larger payload is moved only where the listening end was given the same --size: its memory is taken.
const UNASKED: u64 = 1 << 30;
const MOST_ITERATIONS: u32 = 1_000_000;
const MOST_TRANSFERS: usize = 8;
const MOST_BACKENDS: usize = 8;
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// What the listening end's user has asked for, and nothing that is a mere default.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// The backends of its own agents, if any were named.
    pub backends: Vec<Backend>,
    /// The payload's size.
    pub size: Option<u64>,
    /// The number of large messages.
    pub iterations: Option<u32>,
    /// What shall move the bytes.
    pub engine: EngineChoice,
}

/// The connecting end: offers these plans, and returns them as they were agreed upon.
///
/// # Errors
/// Where this end cannot do it, the other one refuses, or is gone.
pub(crate) fn offer(connection: &mut Connection, plans: Vec<Plan>) -> Result<Vec<Plan>, Failure> {
    let Some(first) = plans.first() else { return Ok(plans) };
    for plan in &plans {
        can_load(plan).map_err(refused)?;
    }
    let until = Instant::now() + PATIENCE.min(first.timeout);
    let offer = Message::Offer(Offer {
        host: own_host(),
        nixl_version: first.nixl.version.clone(),
        transfers: plans.iter().map(offered).collect(),
        size: first.size,
        iterations: first.iterations,
        memory: first.memory,
        seed: first.seed,
        timeout_ms: milliseconds(first.timeout),
        require_fabric: first.require_fabric,
    });
    let answered = connection.send(&offer, until).and_then(|()| connection.receive(FRAME, until));
    match answered {
        Ok(Message::Answer(Answer::Agreed(terms))) => {
            know(connection, &terms.host, terms.nixl_version);
            let timeout = Duration::from_millis(terms.timeout_ms).min(first.timeout);
            let require_fabric = first.require_fabric.stricter(terms.require_fabric);
            let seed = first.seed;
            Ok(plans.into_iter().map(|plan| Plan { seed, timeout, require_fabric, ..plan }).collect())
        }
        Ok(Message::Answer(Answer::Refused(reason))) => Err(refused(format!("the listening end refuses: {reason}"))),
        Ok(_) => Err(silent(connection, "it answered out of turn")),
        Err(error) => Err(silent(connection, &error.to_string())),
    }
}

/// The listening end: takes what is offered, as `template` says where the offer does not.
///
/// # Errors
/// Where the offer is not to be accepted, or the other end is gone.
pub(crate) fn accept(connection: &mut Connection, template: &Plan, given: &Given) -> Result<Vec<Plan>, Failure> {
    let until = Instant::now() + PATIENCE.min(template.timeout);
    let offer = match connection.receive(FRAME, until) {
        Ok(Message::Offer(offer)) => offer,
        Ok(_) => return Err(silent(connection, "it spoke out of turn")),
        Err(error) => return Err(silent(connection, &error.to_string())),
    };
    know(connection, &offer.host, offer.nixl_version.clone());
    let agreed = agree(&offer, template, given);
    let (answer, result) = match agreed {
        Ok(plans) => (Answer::Agreed(terms(template, plans.first())), Ok(plans)),
        Err(reason) => {
            let ours = format!("this end refuses what {} offers: {reason}", connection.describe());
            (Answer::Refused(reason), Err(refused(ours)))
        }
    };
    connection.send(&Message::Answer(answer), until).map_err(|error| silent(connection, &error.to_string()))?;
    result
}

fn know(connection: &mut Connection, host: &str, nixl_version: Option<String>) {
    connection.other.host = shown_host(host);
    connection.other.nixl_version = nixl_version.as_deref().map(shown_host);
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
        timeout_ms: milliseconds(plan.timeout),
        require_fabric: plan.require_fabric,
    }
}

fn milliseconds(timeout: Duration) -> u64 {
    timeout.as_millis() as u64
}

/// The plans that follow from an offer.
fn agree(offer: &Offer, template: &Plan, given: &Given) -> Result<Vec<Plan>, String> {
    if offer.transfers.is_empty() || offer.transfers.len() > MOST_TRANSFERS {
        return Err(format!("{} transfers at once", offer.transfers.len()));
    }
    // The agents of this end have the backends that its user has named, and no others.
    let own = names(&given.backends);
    let is_other = |name: &&String| !own.is_empty() && !own.contains(*name);
    if let Some(other) = offer.transfers.iter().flat_map(|transfer| &transfer.target).find(is_other) {
        return Err(differs("--backend", own.join(","), format!("{other} for it")));
    }
    check_size(offer.size, given.size)?;
    if offer.memory != template.memory {
        return Err(differs("--memory", template.memory, offer.memory));
    }
    if given.iterations.is_some_and(|iterations| iterations != offer.iterations) {
        return Err(differs("--iterations", given.iterations.unwrap_or_default(), offer.iterations));
    }
    if !(1..=MOST_ITERATIONS).contains(&offer.iterations) {
        return Err(format!("{} iterations", offer.iterations));
    }
    let timeout = Duration::from_millis(offer.timeout_ms).clamp(Duration::from_millis(1), LONGEST);
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

fn check_size(size: u64, given: Option<u64>) -> Result<(), String> {
    match given {
        Some(given) if given != size => Err(differs("--size", given, size)),
        Some(_) => Ok(()),
        None if (1..=UNASKED).contains(&size) => Ok(()),
        None => Err(format!("a payload of {size} bytes needs the same --size at the listening end too")),
    }
}

fn differs(option: &str, listening: impl std::fmt::Display, connecting: impl std::fmt::Display) -> String {
    format!("{option} is {listening} at the listening end and {connecting} at the connecting one")
}

/// `--engine auto` follows the connecting end: the two engines do not understand each other.
fn plan(template: &Plan, choice: EngineChoice, transfer: &Offered) -> Result<Plan, String> {
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
        return Err(format!(
            "the bytes of {title} would be moved by {} at the connecting end and by {} at the listening one; say \
             --engine native, or nixl, at both",
            transfer.engine.name(),
            ours.name()
        ));
    }
    can_load(&plan).map(|()| plan)
}

fn backends(names: &[String]) -> Result<Vec<Backend>, String> {
    if names.is_empty() || names.len() > MOST_BACKENDS {
        return Err(format!("{} backends in one agent", names.len()));
    }
    names.iter().map(|name| name.parse()).collect()
}

/// A NIXL without the library that the engine needs makes no transfer.
fn can_load(plan: &Plan) -> Result<(), String> {
    match &plan.engine.library {
        Some(_) => Ok(()),
        None => Err(format!(
            "{} on {} has no C API (libnixl_capi.so, which NIXL has from 0.10.1 on); install it there, or say --engine \
             native at both ends",
            plan.nixl.title(),
            own_host()
        )),
    }
}

fn refused(message: String) -> Failure {
    failure(
        message,
        "Give both ends the same options; what the listening end does not name, the connecting one decides.",
    )
}

fn silent(connection: &mut Connection, error: &str) -> Failure {
    connection.close();
    failure(
        format!("{} had the right to connect, and then there was no agreement: {error}", connection.describe()),
        "See what nixl-retrofit says there.",
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
            transfers: transfers.collect(),
            size,
            iterations: 4,
            memory: Memory::Dram,
            seed: 1,
            timeout_ms: 1000,
            require_fabric: RequiredFabric::Rdma,
        }
    }

    fn agreed(offer: &Offer, given: &Given) -> Result<Vec<Plan>, String> {
        agree(offer, &with_capi(template()), given)
    }

    const UCX: (&str, EngineKind) = ("UCX", EngineKind::Nixl);

    const NOTHING: Given = Given { backends: Vec::new(), size: None, iterations: None, engine: EngineChoice::Auto };

    #[test]
    fn the_connecting_end_decides_what_the_listening_one_leaves_open() {
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
    fn what_the_listening_end_was_given_must_be_the_same() {
        let offer = offer_of(&[UCX], 4096);
        let refused = |given| agreed(&offer, &given).unwrap_err();
        let same = Given { backends: vec![Backend::Ucx], size: Some(4096), iterations: Some(4), ..NOTHING };
        assert!(agreed(&offer, &same).is_ok());
        let words = refused(Given { backends: vec![Backend::Libfabric], ..same.clone() });
        assert!(words.contains("--backend is LIBFABRIC at the listening end and UCX for it at"), "{words}");
        let both = Given { backends: vec![Backend::Libfabric, Backend::Ucx], ..same.clone() };
        assert!(agreed(&offer, &both).is_ok());
        assert!(refused(Given { size: Some(4097), ..same.clone() }).contains("--size is 4097"));
        assert!(refused(Given { iterations: Some(5), ..same }).contains("--iterations is 5"));
        let vram = Offer { memory: Memory::Vram(0), ..offer_of(&[UCX], 4096) };
        assert!(agreed(&vram, &NOTHING).unwrap_err().contains("--memory is dram at the listening end and vram:0"));
    }

    #[test]
    fn a_greedy_offer_is_refused() {
        let huge = offer_of(&[UCX], UNASKED + 1);
        assert!(agreed(&huge, &NOTHING).unwrap_err().contains("--size"));
        assert!(agreed(&huge, &Given { size: Some(UNASKED + 1), ..NOTHING }).is_ok());
        assert!(agreed(&offer_of(&[UCX], 0), &NOTHING).is_err());
        assert!(agreed(&offer_of(&[], 1), &NOTHING).is_err());
        assert!(agreed(&offer_of(&[UCX; 9], 1), &NOTHING).is_err());
        assert!(agreed(&offer_of(&[("GDS", EngineKind::Nixl)], 1), &NOTHING).unwrap_err().contains("GDS"));
        for iterations in [0, 1_000_001] {
            assert!(agreed(&Offer { iterations, ..offer_of(&[UCX], 1) }, &NOTHING).is_err());
        }
    }

    #[test]
    fn engines_that_do_not_understand_each_other_are_refused() {
        let native = Given { engine: EngineChoice::Native, ..NOTHING };
        let words = agreed(&offer_of(&[UCX], 1), &native).unwrap_err();
        assert!(words.contains("NIXL at the connecting end and by UCX itself"), "{words}");
        let words = agree(&offer_of(&[UCX], 1), &template(), &NOTHING).unwrap_err();
        assert!(words.contains("libnixl_capi.so") && words.contains("--engine native"), "{words}");
        assert!(agreed(&offer_of(&[("UCX", EngineKind::Libfabric)], 1), &NOTHING).is_err());
    }
}
