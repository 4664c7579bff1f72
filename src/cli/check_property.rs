//! `firmament check-property`: checks the rule tree of an Akamai property against the names that this program knows, and
//! against the links that it makes; needs no server. See `docs/akamai.md`.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{
    output::{DONE, Failure, Report, Terminal, YOURS},
    table::plain,
};
use crate::cdn::property::{Expected, check};

/// The arguments of `check-property`.
#[derive(Debug, Args)]
pub struct CheckPropertyArguments {
    /// The rule tree, as JSON: your copy of docs/akamai/rules.json, or an export of Property Manager
    file: PathBuf,
    /// The query parameter that has the token: cdn.token.name in the settings
    #[arg(long, value_name = "NAME", default_value = "hdnts")]
    token_name: String,
    /// No link carries a token: there is no [cdn.token] in the settings
    #[arg(long, conflicts_with_all = ["token_name", "salt"])]
    no_token: bool,
    /// Compare the salt of tokens too: cdn.token.salt in the settings, or "" if it has none
    #[arg(long, value_name = "SALT")]
    salt: Option<String>,
    /// What is still to be replaced is fine
    #[arg(long)]
    template: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Checks it. Exit code 1 when something is wrong, or still to be replaced.
///
/// # Errors
/// When the file cannot be read, or is no JSON.
pub fn run(arguments: &CheckPropertyArguments, _: &Terminal) -> Result<Report, Failure> {
    let path = arguments.file.display();
    let text = std::fs::read_to_string(&arguments.file)
        .map_err(|error| Failure::yours(format!("cannot read {path}: {error}")))?;
    let document: Value =
        serde_json::from_str(&text).map_err(|error| Failure::yours(format!("{path} is no JSON: {error}")))?;
    let token = (!arguments.no_token).then_some(arguments.token_name.as_str());
    let findings = check(&document, &Expected { token, salt: arguments.salt.as_deref() });
    let left = !findings.placeholders.is_empty() && !arguments.template;
    let mut lines: Vec<String> = findings.problems.iter().map(|problem| plain(problem)).collect();
    if left {
        let placeholders = findings.placeholders.iter().map(|placeholder| plain(placeholder));
        lines.extend(placeholders.map(|placeholder| format!("{placeholder} is still to be replaced")));
    }
    let code = if lines.is_empty() { DONE } else { YOURS };
    if lines.is_empty() {
        lines.push(format!(
            "{}: fine, as far as this program knows; Akamai's own validation is the last word",
            plain(&path.to_string())
        ));
    }
    let document = json!({ "problems": findings.problems, "placeholders": findings.placeholders });
    Ok(Report { text: lines.join("\n"), document, code })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_whether_it_is_ready() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("rules.json");
        let ran_with = |text: &str, template: bool, no_token: bool| {
            std::fs::write(&file, text).expect("written");
            let arguments = CheckPropertyArguments {
                file: file.clone(),
                token_name: "hdnts".to_owned(),
                no_token,
                salt: None,
                template,
                json: false,
            };
            run(&arguments, &Terminal::default())
        };
        let ran = |text: &str, template: bool| ran_with(text, template, false);
        let shipped = include_str!("../../docs/akamai/rules.json");
        let template = ran(shipped, true).expect("JSON");
        assert_eq!(template.code, DONE, "{}", template.text);
        assert_eq!(ran_with(shipped, true, true).expect("JSON").code, YOURS, "it asks for tokens");
        let unready = ran(shipped, false).expect("JSON");
        assert_eq!(unready.code, YOURS);
        assert!(unready.text.contains("REPLACE:CP_CODE is still to be replaced"), "{}", unready.text);
        let wrong = ran(&shipped.replace("\"cacheTag\"", "\"cacheTags\""), true).expect("JSON");
        assert_eq!(wrong.code, YOURS);
        assert!(wrong.text.contains("do you mean \"cacheTag\"?"), "{}", wrong.text);
        assert!(ran("{", true).is_err());
    }
}
