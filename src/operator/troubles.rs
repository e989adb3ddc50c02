//! Troubles of the API server: when one begins and when it is over, however many requests it
//! strikes. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

/// A request that failed and was not asked again for this long is not in trouble any more.
const FORGET_AFTER: Duration = Duration::from_secs(300);

/// What is wrong with the API server.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Trouble {
    /// It asks to wait.
    Throttled,
    /// It, or what it asks itself, is broken.
    ServerError,
    /// It takes too long.
    NoAnswer,
    /// It is away, or the connection broke.
    Unreachable,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Throttled, Self::ServerError, Self::NoAnswer, Self::Unreachable];

    /// What an answer's code of HTTP says of the API server itself.
    pub fn of_status(code: u16) -> Option<Self> {
        match code {
            429 => Some(Self::Throttled),
            500.. => Some(Self::ServerError),
            _ => None,
        }
    }

    /// As it stands in the log and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::ServerError => "server_error",
            Self::NoAnswer => "no_answer",
            Self::Unreachable => "unreachable",
        }
    }
}

/// The requests that are in trouble, by what they ask for.
#[derive(Debug, Default)]
pub struct Troubles {
    requests: BTreeMap<String, (Trouble, Duration)>,
    since: BTreeMap<Trouble, Duration>,
}

impl Troubles {
    /// A request failed at `now` (uptime); true if nobody has been told of this trouble.
    pub fn begin(&mut self, request: &str, trouble: Trouble, now: Duration) -> bool {
        self.requests.retain(|_, (_, at)| now.saturating_sub(*at) <= FORGET_AFTER);
        self.requests.insert(request.to_owned(), (trouble, now));
        let requests = &self.requests;
        self.since.retain(|kind, _| {
            *kind == trouble || requests.values().any(|(other, _)| other == kind)
        });
        let news = !self.since.contains_key(&trouble);
        self.since.entry(trouble).or_insert(now);
        news
    }

    /// A request went well at `now`; gives the troubles that are over with it, and how long they
    /// lasted.
    pub fn end(&mut self, request: &str, now: Duration) -> Vec<(Trouble, Duration)> {
        if self.requests.remove(request).is_none() {
            return Vec::new();
        }
        let requests = &self.requests;
        let mut over = Vec::new();
        self.since.retain(|kind, since| {
            let goes_on = requests.values().any(|(other, _)| other == kind);
            if !goes_on {
                over.push((*kind, now.saturating_sub(*since)));
            }
            goes_on
        });
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_trouble_is_told_once_whatever_it_strikes_and_over_when_all_is_well() {
        let mut troubles = Troubles::default();
        assert!(troubles.begin("list pods", Trouble::Unreachable, secs(0)));
        assert!(!troubles.begin("list pods", Trouble::Unreachable, secs(1)));
        assert!(!troubles.begin("watch secrets", Trouble::Unreachable, secs(2)));
        assert_eq!(troubles.end("list pods", secs(5)), []);
        assert_eq!(troubles.end("get leases", secs(5)), []);
        assert_eq!(troubles.end("watch secrets", secs(9)), [(Trouble::Unreachable, secs(9))]);
        assert!(troubles.begin("list pods", Trouble::Unreachable, secs(20)));
    }

    #[test]
    fn another_trouble_is_told_too() {
        let mut troubles = Troubles::default();
        assert!(troubles.begin("list pods", Trouble::Unreachable, secs(0)));
        assert!(troubles.begin("list pods", Trouble::Throttled, secs(1)));
        assert_eq!(troubles.end("list pods", secs(2)), [(Trouble::Throttled, secs(1))]);
    }

    #[test]
    fn what_is_not_asked_any_more_is_not_in_trouble_for_ever() {
        let mut troubles = Troubles::default();
        assert!(troubles.begin("create events", Trouble::ServerError, secs(0)));
        assert!(troubles.begin("list pods", Trouble::Throttled, secs(400)));
        assert!(troubles.begin("create events", Trouble::ServerError, secs(401)));
    }
}
