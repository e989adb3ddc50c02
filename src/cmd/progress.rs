//! How far a run over many devices is: a bar on a terminal, a line of the log now and then
//! elsewhere. Counts nothing and decides nothing.

use indicatif::{ProgressBar, ProgressStyle};

/// Every how many devices the log says how far it is, where there is no terminal.
const TELL_EVERY: u64 = 1_000;

/// A run over all devices.
pub(super) struct Progress {
    bar: ProgressBar,
    /// What is done, for the log; none: it is not told of.
    doing: Option<&'static str>,
}

impl Progress {
    /// Shows a run in which `doing` is done.
    pub fn of(doing: &'static str) -> Self {
        let bar = bar("{bar:30} {pos} of {len} devices, {eta} left {msg}");
        Self { bar, doing: Some(doing) }
    }

    /// Shows nothing: for runs that come again and again.
    pub fn silent() -> Self {
        Self { bar: ProgressBar::hidden(), doing: None }
    }

    /// So many devices there are.
    pub fn begin(&self, devices: u64) {
        self.bar.set_length(devices);
    }

    /// One more is done.
    pub fn step(&self) {
        self.show(self.bar.length().unwrap_or(0), self.bar.position() + 1);
    }

    /// So many devices there are, and so many of them are done.
    pub fn show(&self, devices: u64, done: u64) {
        self.bar.set_length(devices);
        self.bar.set_position(done);
        if let Some(doing) = self.doing
            && self.bar.is_hidden()
            && done.is_multiple_of(TELL_EVERY)
        {
            tracing::info!(devices = done, of = devices, "{doing}");
        }
    }

    /// A sentence on the bar, or in the log.
    pub fn remark(&self, sentence: String) {
        match self.bar.is_hidden() {
            true => tracing::info!("{sentence}"),
            false => self.bar.set_message(sentence),
        }
    }

    /// Lets `tell` write to the terminal.
    pub fn beside(&self, tell: impl FnOnce()) {
        self.bar.suspend(tell);
    }

    /// The run is over.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// A bar of this look; hidden where nobody looks.
pub(super) fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A size in MiB.
#[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
