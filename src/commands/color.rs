//! `--color`, and the environment variables that mean the same.

use anstream::ColorChoice;

use crate::environment::variables::Variables;

/// Makes `--color`, and the variables that anstream does not know, anstream's default for every stream.
///
/// anstream itself looks at NO_COLOR, CLICOLOR_FORCE, CLICOLOR, TERM and whether the stream is a terminal.
pub(super) fn set(option: clap::ColorChoice, variables: &Variables) {
    // https://force-color.org; NO_COLOR wins, as it does over CLICOLOR_FORCE.
    let forced = variables.non_empty("FORCE_COLOR").is_some_and(|value| value != "0");
    let choice = match option {
        clap::ColorChoice::Always => ColorChoice::Always,
        clap::ColorChoice::Never => ColorChoice::Never,
        clap::ColorChoice::Auto if forced && variables.non_empty("NO_COLOR").is_none() => ColorChoice::Always,
        clap::ColorChoice::Auto => ColorChoice::Auto,
    };
    choice.write_global();
}
