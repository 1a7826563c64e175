//! `appc doctor`

use appcontainers::{Check, Verdict};

use crate::{context::Context, exit, render};

/// Check this host and the state, and say how to mend what is wrong
///
/// One line a check. The exit code is 0 only if the host is fit; warnings are no hindrance.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  appc doctor
  appc doctor --json | jq '.[] | select(.verdict != \"fit\")'")]
pub(crate) struct Args {}

impl Args {
    pub(super) fn execute(self, context: &Context) -> anyhow::Result<u8> {
        let checks = context.service.doctor();
        context.print(&checks, |checks| text(checks))?;
        let fit = checks.iter().all(|check| check.verdict != Verdict::Unfit);
        Ok(if fit { exit::SUCCESS } else { exit::FAILURE })
    }
}

fn text(checks: &[Check]) -> String {
    let row = |check: &Check| {
        let verdict = match check.verdict {
            Verdict::Fit => "ok",
            Verdict::Warning => "warning",
            Verdict::Unfit => "UNFIT",
        };
        let mend = check.mend.as_ref().map_or_else(String::new, |mend| format!("; {mend}"));
        [verdict.to_owned(), check.name.to_owned(), check.detail.clone() + &mend]
    };
    render::table(["VERDICT", "CHECK", "DETAIL"], checks.iter().map(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_one_line_with_its_mend() {
        let check = |name, verdict, detail: &str, mend: Option<&str>| Check {
            name,
            verdict,
            detail: detail.to_owned(),
            mend: mend.map(str::to_owned),
        };
        let checks = [
            check("kernel", Verdict::Fit, "6.18", None),
            check("subuid", Verdict::Unfit, "root has no range in /etc/subuid", Some("run: appc setup")),
        ];
        let expected = "\
VERDICT  CHECK   DETAIL
ok       kernel  6.18
UNFIT    subuid  root has no range in /etc/subuid; run: appc setup
";
        render::assert_documented("appc doctor", &checks[1]);
        assert_eq!(text(&checks), expected);
    }
}
