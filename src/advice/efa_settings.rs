//! The settings that images and clusters set for EFA, with what each is for.

use crate::environment::variables::Variables;
use crate::report::doctor::EfaSetting;

/// Where AWS explains them: `1.architectures/efa-cheatsheet.md` of github.com/aws-samples/awsome-distributed-training.
const CHEATSHEET: &str = "AWS, EFA Cheatsheet";
/// Where NVIDIA's image for AWS is made: `container/templates/aws.Dockerfile` of github.com/ai-dynamo/dynamo.
const DYNAMO: &str = "Dynamo, aws.Dockerfile";

/// Variable, value, what it is for, source.
const SETTINGS: [(&str, &str, &str, &str); 6] = [
    ("FI_PROVIDER", "efa", "no other provider; every check in a build fails with it", CHEATSHEET),
    ("FI_EFA_USE_DEVICE_RDMA", "1", "RDMA reads with libfabric before 1.18; no effect later", CHEATSHEET),
    ("FI_EFA_USE_HUGE_PAGE", "0", "where fork() fails with «Cannot allocate memory»", CHEATSHEET),
    ("FI_EFA_FORK_SAFE", "1", "fork() with kernels before 5.15; no effect later", CHEATSHEET),
    ("RDMAV_FORK_SAFE", "", "leave it unset: it breaks things with newer kernels", CHEATSHEET),
    ("EFA_VERSION", "", "the EFA installer's version, which NVIDIA's image records", DYNAMO),
];

/// Each with its value now.
pub(crate) fn settings(variables: &Variables) -> Vec<EfaSetting> {
    let setting = |&(name, recommended, purpose, source): &(&'static str, &'static str, &'static str, &'static str)| {
        let value = variables.get(name).map(|value| value.to_string_lossy().into_owned());
        EfaSetting { name, recommended: (!recommended.is_empty()).then_some(recommended), purpose, source, value }
    };
    SETTINGS.iter().map(setting).collect()
}
