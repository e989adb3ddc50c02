//! Where settings come from, and which source is stronger: flags, the environment, the
//! `.env` file, a command's own defaults. Reads the file and the environment once; judges
//! nothing.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::setting::Setting;

/// The file that is read when none is named, in the working folder.
const DEFAULT_ENV_FILE: &str = ".env";

/// Everything that was given, before it is judged.
#[derive(Default)]
pub struct Sources {
    /// Values of flags by the variable's name.
    pub flags: BTreeMap<&'static str, String>,
    /// The process's environment.
    pub environment: BTreeMap<OsString, OsString>,
    /// The `.env` file, if there is one.
    pub file: Option<EnvFile>,
    /// What the command assumes instead of a setting's own default.
    pub command_defaults: &'static [(&'static str, &'static str)],
}

impl fmt::Debug for Sources {
    /// Without the values: some of them are passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("file", &self.file).finish_non_exhaustive()
    }
}

/// A `.env` file's contents. A value is never printed: it may be a password.
pub struct EnvFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its variables; of one that is there twice, the last.
    pub variables: BTreeMap<String, String>,
}

impl fmt::Debug for EnvFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Who gave a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// The `.env` file at this path.
    File(PathBuf),
    /// The command itself.
    Command,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("the flag"),
            Self::Environment => f.write_str("the environment"),
            Self::File(path) => path.display().fmt(f),
            Self::Command => f.write_str("the command"),
        }
    }
}

/// A value as it was given; `None` when it is not text.
pub(super) type Given = (Option<String>, Origin);

impl Sources {
    /// Reads the process's environment and the `.env` file: `env_file` if one is named, else
    /// `.env` in the working folder if there is one.
    ///
    /// # Errors
    /// A named file that cannot be read, or a line in it that is not `NAME=value`.
    pub fn gather(
        flags: BTreeMap<&'static str, String>,
        env_file: Option<&Path>,
        command_defaults: &'static [(&'static str, &'static str)],
    ) -> Result<Self, ConfigError> {
        let file = match env_file {
            Some(path) => Some(EnvFile::read(path)?),
            None => match EnvFile::read(Path::new(DEFAULT_ENV_FILE)) {
                Err(ConfigError::EnvFile { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    None
                }
                read => Some(read?),
            },
        };
        Ok(Self { flags, environment: std::env::vars_os().collect(), file, command_defaults })
    }

    /// What the strongest source says of `setting`. An empty value says nothing: that is how
    /// charts and compose files leave a variable out.
    pub(super) fn lookup(&self, setting: &Setting) -> Option<Given> {
        let name = setting.variable;
        let flag = self.flags.get(name).map(|v| (Some(v.trim().to_owned()), Origin::Flag));
        let environment = || {
            let value = self.environment.get(std::ffi::OsStr::new(name))?;
            Some((value.to_str().map(|v| v.trim().to_owned()), Origin::Environment))
        };
        let file = || {
            let file = self.file.as_ref()?;
            let value = file.variables.get(name)?;
            Some((Some(value.trim().to_owned()), Origin::File(file.path.clone())))
        };
        let command = || {
            let (_, value) = self.command_defaults.iter().find(|(known, _)| *known == name)?;
            Some((Some((*value).to_owned()), Origin::Command))
        };
        let said = |given: &Given| given.0.as_deref() != Some("");
        flag.filter(said)
            .or_else(|| environment().filter(said).filter(|given| !is_service_link(name, given)))
            .or_else(|| file().filter(said))
            .or_else(command)
    }

    /// The names of all variables in the environment and the file, with who gave them.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, Origin)> {
        let environment = self.environment.keys().filter_map(|name| name.to_str());
        let file = self.file.iter().flat_map(|file| {
            file.variables.keys().map(|name| (name.as_str(), Origin::File(file.path.clone())))
        });
        environment.map(|name| (name, Origin::Environment)).chain(file)
    }
}

/// Kubernetes sets `METRICS_PORT=tcp://10.0.0.1:9090` in every pod of a namespace that has a
/// Service called `metrics`: nobody's setting.
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_service_link(name: &str, (value, _): &Given) -> bool {
    let protocols = ["tcp://", "udp://", "sctp://"];
    name.ends_with("_PORT")
        && value.as_ref().is_some_and(|value| protocols.iter().any(|p| value.starts_with(p)))
}

impl EnvFile {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::EnvFile { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Reads `text` as the contents of the file at `path`.
    ///
    /// # Errors
    /// The number of the first line that is not `NAME=value`; never what it says.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut variables = BTreeMap::new();
        for item in dotenvy::from_read_iter(text.as_bytes()) {
            let (name, value) = item.map_err(|error| {
                let line = match &error {
                    dotenvy::Error::LineParse(bad, _) => line_number(text, bad),
                    _ => None,
                };
                ConfigError::EnvFileLine { path: path.to_owned(), line: line.unwrap_or(1) }
            })?;
            variables.insert(name, value);
        }
        Ok(Self { path: path.to_owned(), variables })
    }
}

/// The number of the line in `text` at which `bad` begins, from 1.
fn line_number(text: &str, bad: &str) -> Option<usize> {
    let first = bad.lines().next()?.trim();
    text.lines().position(|line| line.trim() == first).map(|index| index + 1)
}
