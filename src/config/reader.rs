//! Reads settings one by one and collects whatever is wrong with them, so that a person sees
//! all of it at once. Touches nothing but its sources.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use super::setting::{Setting, parse_bool};
use super::sources::{Origin, Sources};
use super::{Group, settings};
use crate::model::Secret;

/// The longest part of a bad value that is repeated, in characters.
const SHOWN_CHARS: usize = 80;

/// One thing that is wrong with the settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Problem {
    /// A value that its setting does not take.
    Value {
        /// The variable.
        variable: &'static str,
        /// The same as a flag, without the dashes.
        flag: &'static str,
        /// What was given, if it may be shown.
        given: Option<String>,
        /// Who gave it.
        origin: Origin,
        /// What it takes.
        takes: String,
    },
    /// Settings that do not go together, as a sentence that names them.
    Rule(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { variable, flag, given, origin, takes } => {
                write!(f, "{variable} (--{flag}) takes {takes}; {origin} says ")?;
                match given {
                    Some(given) => write!(f, "{given:?}"),
                    None => f.write_str("something else (not shown)"),
                }
            }
            Self::Rule(sentence) => f.write_str(sentence),
        }
    }
}

/// Reads settings of some groups from the sources; those of other groups keep their defaults.
pub(super) struct Reader<'a> {
    sources: &'a Sources,
    groups: &'a [Group],
    problems: Vec<Problem>,
    notices: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sources: &'a Sources, groups: &'a [Group]) -> Self {
        Self { sources, groups, problems: Vec::new(), notices: Vec::new() }
    }

    /// The problems and the notices, in the order in which they were found.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<String>) {
        (self.problems, self.notices)
    }

    pub(super) fn integer<T: TryFrom<u64> + Default>(&mut self, setting: &'static Setting) -> T {
        let parse = |text: &str| T::try_from(setting.takes.integer(text)?).ok();
        self.value(setting, parse).unwrap_or_default()
    }

    pub(super) fn bool(&mut self, setting: &'static Setting) -> bool {
        self.value(setting, parse_bool).unwrap_or_default()
    }

    pub(super) fn optional(&mut self, setting: &'static Setting) -> Option<String> {
        self.value(setting, |text| setting.takes.accepts(text).then(|| text.to_owned()))
    }

    pub(super) fn text(&mut self, setting: &'static Setting) -> String {
        self.optional(setting).unwrap_or_default()
    }

    pub(super) fn path(&mut self, setting: &'static Setting) -> Option<PathBuf> {
        self.optional(setting).map(PathBuf::from)
    }

    pub(super) fn secret(&mut self, setting: &'static Setting) -> Option<Secret> {
        self.optional(setting).map(Secret::new)
    }

    pub(super) fn address(&mut self, setting: &'static Setting) -> IpAddr {
        self.value(setting, |text| text.parse().ok()).unwrap_or(Ipv4Addr::UNSPECIFIED.into())
    }

    /// One of the words of a setting as what it means; `otherwise` is never seen, because the
    /// default is one of the words.
    pub(super) fn choice<T>(
        &mut self,
        setting: &'static Setting,
        otherwise: T,
        meaning: impl Fn(&str) -> Option<T>,
    ) -> T {
        self.value(setting, |text| meaning(&text.to_ascii_lowercase())).unwrap_or(otherwise)
    }

    /// Notes a rule between `involved` that is broken. Silent when one of them is bad by
    /// itself: the second complaint would be about a value that nobody gave.
    pub(super) fn rule(
        &mut self,
        involved: &[&Setting],
        holds: bool,
        sentence: impl FnOnce() -> String,
    ) {
        let bad = self.problems.iter().any(|problem| match problem {
            Problem::Value { variable, .. } => involved.iter().any(|s| s.variable == *variable),
            Problem::Rule(_) => false,
        });
        if !holds && !bad {
            self.problems.push(Problem::Rule(sentence()));
        }
    }

    /// Says something that is worth a warning.
    pub(super) fn notice(&mut self, sentence: String) {
        self.notices.push(sentence);
    }

    /// The value of `setting`, its default when there is none. After a bad value the default
    /// too, so that the rest is still read; the problem keeps it from leaving this folder.
    fn value<T>(
        &mut self,
        setting: &'static Setting,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        debug_assert!(settings().any(|known| std::ptr::eq(known, setting)), "not in its table");
        let in_scope = self.groups.iter().any(|g| setting.variable.starts_with(g.prefix()));
        let given = in_scope.then(|| self.sources.lookup(setting)).flatten();
        let default = setting.default.and_then(&parse);
        let Some((text, origin)) = given else { return default };
        text.as_deref().and_then(parse).or_else(|| {
            self.problems.push(Problem::Value {
                variable: setting.variable,
                flag: setting.flag,
                given: (!setting.secret).then(|| shown(text)),
                origin,
                takes: setting.takes.to_string(),
            });
            default
        })
    }
}

/// As much of a bad value as helps: without what stands before an `@`, which may be a
/// password in a URL, and not endless.
fn shown(text: Option<String>) -> String {
    let Some(text) = text else { return "bytes that are not text".into() };
    let without_password = match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://(hidden)@{host}"),
        _ => text,
    };
    match without_password.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", without_password.get(..end).unwrap_or_default()),
        None => without_password,
    }
}
