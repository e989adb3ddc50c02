//! Each setting as a flag, and which of them a command has. Made from the tables in
//! [`crate::config`]; decides nothing about values.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches};

use crate::config::{Group, Setting, Takes};

/// The groups of settings that a command uses: only these are in its help.
pub trait SettingScope {
    /// Which.
    const GROUPS: &'static [Group];
}

/// Everything.
#[derive(Clone, Copy, Debug)]
pub struct AllSettings;

impl SettingScope for AllSettings {
    const GROUPS: &'static [Group] = Group::ALL;
}

/// What ends the sessions of silent devices, archives them, and tells Kubernetes of these devices.
#[derive(Clone, Copy, Debug)]
pub struct UpkeepSettings;

impl SettingScope for UpkeepSettings {
    const GROUPS: &'static [Group] = &[
        Group::Storage,
        Group::Processing,
        Group::Metrics,
        Group::Log,
        Group::Redis,
        Group::Archive,
        Group::Status,
    ];
}

/// What the demonstration uses.
#[derive(Clone, Copy, Debug)]
pub struct DemoSettings;

impl SettingScope for DemoSettings {
    const GROUPS: &'static [Group] = &[Group::Processing, Group::Watermark, Group::Log];
}

/// What commands that only read use.
#[derive(Clone, Copy, Debug)]
pub struct ReadingSettings;

impl SettingScope for ReadingSettings {
    const GROUPS: &'static [Group] = &[Group::Storage, Group::Log];
}

/// What the clean-up of streams uses.
#[derive(Clone, Copy, Debug)]
pub struct CleanupSettings;

impl SettingScope for CleanupSettings {
    const GROUPS: &'static [Group] = &[
        Group::Storage,
        Group::Processing,
        Group::Archive,
        Group::Retention,
        Group::Metrics,
        Group::Log,
    ];
}

/// What the reset of a device uses.
#[derive(Clone, Copy, Debug)]
pub struct ResetDeviceSettings;

impl SettingScope for ResetDeviceSettings {
    const GROUPS: &'static [Group] = &[
        Group::Storage,
        Group::Processing,
        Group::Archive,
        Group::Retention,
        Group::Redis,
        Group::Log,
    ];
}

/// What the clean-up of archives uses.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveCleanupSettings;

impl SettingScope for ArchiveCleanupSettings {
    const GROUPS: &'static [Group] = &[Group::Storage, Group::Archive, Group::Metrics, Group::Log];
}

/// What serving uses.
#[derive(Clone, Copy, Debug)]
pub struct ServeSettings;

impl SettingScope for ServeSettings {
    const GROUPS: &'static [Group] = &[Group::Serve, Group::Storage, Group::Metrics, Group::Log];
}

/// What signing uses.
#[derive(Clone, Copy, Debug)]
pub struct SignUrlSettings;

impl SettingScope for SignUrlSettings {
    const GROUPS: &'static [Group] = &[Group::Serve, Group::Log];
}

/// What the operator uses.
#[derive(Clone, Copy, Debug)]
pub struct OperatorSettings;

impl SettingScope for OperatorSettings {
    const GROUPS: &'static [Group] = &[Group::Operator, Group::Metrics, Group::Log];
}

/// The settings that were given as flags, not yet judged. Made from the tables in
/// [`crate::config`], so that a flag and its variable cannot differ.
#[derive(Clone)]
pub struct SettingFlags<S> {
    /// Values by the variable's name.
    pub values: BTreeMap<&'static str, String>,
    /// The file to read instead of `.env`.
    pub env_file: Option<PathBuf>,
    scope: PhantomData<S>,
}

impl<S> std::fmt::Debug for SettingFlags<S> {
    /// The names alone: a value may be a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl<S> SettingFlags<S> {
    /// These flags, and `weaker` where they say nothing.
    pub fn or<W>(mut self, weaker: SettingFlags<W>) -> Self {
        for (variable, value) in weaker.values {
            self.values.entry(variable).or_insert(value);
        }
        self.env_file = self.env_file.or(weaker.env_file);
        self
    }
}

impl<S: SettingScope> FromArgMatches for SettingFlags<S> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let values = S::GROUPS
            .iter()
            .flat_map(|group| group.settings())
            .filter_map(|s| Some((s.variable, matches.get_one::<String>(s.variable)?.clone())))
            .collect();
        let env_file = matches.get_one::<PathBuf>(ENV_FILE).cloned();
        Ok(Self { values, env_file, scope: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl<S: SettingScope> Args for SettingFlags<S> {
    fn augment_args(command: clap::Command) -> clap::Command {
        let env_file = Arg::new(ENV_FILE)
            .long(ENV_FILE)
            .value_name("FILE")
            // As the settings themselves: --help has room for it.
            .hide_short_help(true)
            .value_parser(clap::value_parser!(PathBuf))
            .help("File of NAME=value lines to read instead of .env in the working folder");
        S::GROUPS.iter().fold(command.arg(env_file), |command, group| {
            command.args(group.settings().iter().map(|setting| flag(*group, setting)))
        })
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

const ENV_FILE: &str = "env-file";

fn flag(group: Group, setting: &'static Setting) -> Arg {
    let default = setting.default.map(|d| format!(" [default: {d}]")).unwrap_or_default();
    let help = format!(
        "{} It takes {}.\n[env: {}]{default}",
        setting.help, setting.takes, setting.variable
    );
    let arg = Arg::new(setting.variable)
        .long(setting.flag)
        .value_name(setting.takes.placeholder())
        .help(help)
        .help_heading(group.title())
        .hide_short_help(true)
        .action(ArgAction::Set);
    match setting.takes {
        // `--redis-enabled` alone is yes; with `=` only, or it would swallow a command's name.
        Takes::Bool => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        // So that a negative number gets the answer of its setting.
        Takes::Integer { .. } => arg.allow_negative_numbers(true),
        _ => arg,
    }
}
