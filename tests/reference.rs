//! `.env.example` and `docs/configuration.md` say what the tables of settings say. After a
//! change to a table: `make docs`, which runs this test with `UPDATE_REFERENCE=1`.

// The lint knows test functions, but not what they call.
#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::Path;

use stream_processor::config::{Group, Setting};

fn env_example() -> String {
    let mut text = String::from(
        "# Every setting with its default. Copy this file to .env and uncomment what is to differ.\n\
         # The environment is stronger than this file, a flag stronger than both; an empty value\n\
         # counts as none. Put a value with spaces, # or $ in single quotes.\n",
    );
    for group in Group::ALL {
        writeln!(text, "\n# ---- {} ----", group.title()).unwrap();
        for setting in group.settings() {
            let Setting { variable, default, takes, help, .. } = setting;
            writeln!(text, "\n# {help}\n# It takes {takes}.").unwrap();
            let default = default.unwrap_or_default();
            let quote = if default.contains(' ') { "'" } else { "" };
            writeln!(text, "#{variable}={quote}{default}{quote}").unwrap();
        }
    }
    text
}

fn configuration() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         Every setting is an environment variable, a line in `.env` and a flag: \
         `PULSAR_SERVICE_URL` is `--pulsar-service-url`. From strong to weak: flags, environment, \
         `.env` (in the working folder, or the file that `--env-file` names), defaults. An empty \
         value counts as none. In `.env`, put a value with spaces, `#` or `$` in single quotes.\n\n\
         A value that is not right ends the program with exit code 2 and a list of everything \
         that is wrong. A variable that begins like one of these and is not known is warned about \
         in the log. Tokens, keys and URLs that may hold a password are never shown.\n",
    );
    for group in Group::ALL {
        writeln!(text, "\n## {}\n\n| variable | default | takes | what it is |", group.title())
            .unwrap();
        text.push_str("|---|---|---|---|\n");
        for setting in group.settings() {
            let Setting { variable, default, takes, help, .. } = setting;
            let default = default.map(|d| format!("`{d}`")).unwrap_or_default();
            writeln!(text, "| `{variable}` | {default} | {takes} | {help} |").unwrap();
        }
    }
    text
}

fn check(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{file} is not what the settings say: run `make docs`");
}

#[test]
fn the_example_file_has_every_variable_with_its_default() {
    check(".env.example", &env_example());
}

#[test]
fn the_documentation_has_every_variable() {
    check("docs/configuration.md", &configuration());
}

#[test]
fn the_example_file_uncommented_is_read_as_the_defaults() {
    let uncommented: String = env_example()
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .fold(String::new(), |text, line| text + line + "\n");
    let path = Path::new(".env.example");
    let file = stream_processor::config::EnvFile::parse(path, &uncommented).unwrap();
    for setting in Group::ALL.iter().flat_map(|group| group.settings()) {
        let written = file.variables.get(setting.variable).map(String::as_str);
        assert_eq!(written, Some(setting.default.unwrap_or_default()), "{}", setting.variable);
    }
}

#[test]
fn the_definitions_in_the_repository_are_those_of_the_types() {
    for definition in stream_processor::operator::crd::definitions() {
        let file = format!("crds/{}.yaml", definition.spec.names.plural);
        let text = serde_yaml::to_string(&definition).unwrap();
        let head = "# Made from the types in src/operator/crd by `make docs`.\n";
        check(&file, &format!("{head}{text}"));
    }
}
