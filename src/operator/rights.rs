//! Which rights the operator lacks, by what the API server refuses, and what to write to give
//! them. Pure.
//!
//! Only a refusal for want of a right counts: a quota or an admission rule also answers 403.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A right that is not used for this long may have been given meanwhile, or is not needed any
/// more: it is not told of any longer.
const FORGET_AFTER: Duration = Duration::from_secs(600);
/// The most that are remembered: verbs times kinds are fewer, and namespaces are bounded by this.
const MOST: usize = 500;

/// Something that one may do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Right {
    /// Such as `list`.
    pub verb: String,
    /// In the plural, with the subresource, such as `streamprocessors/status`.
    pub resource: String,
    /// Empty for the core group.
    pub group: String,
    /// Where; none is in the whole cluster.
    pub namespace: Option<String>,
}

impl Right {
    /// The right for want of which the API server refuses with this sentence; none if it refuses
    /// for another reason.
    pub fn refused(sentence: &str) -> Option<Self> {
        Self::refused_itself(sentence).or_else(|| Self::refused_to_hand_on(sentence))
    }

    /// Such as `secrets is forbidden: User "u" cannot list resource "secrets" in API group "" at
    /// the cluster scope`.
    /// <https://kubernetes.io/docs/reference/access-authn-authz/authorization/>
    fn refused_itself(sentence: &str) -> Option<Self> {
        let (_, rest) = sentence.split_once("\" cannot ")?;
        let (verb, rest) = rest.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once("\" in API group \"")?;
        let (group, rest) = rest.split_once('"')?;
        let namespace = rest
            .split_once("in the namespace \"")
            .and_then(|(_, rest)| rest.split_once('"'))
            .map(|(name, _)| name.to_owned());
        let (verb, resource, group) = (verb.to_owned(), resource.to_owned(), group.to_owned());
        Some(Self { verb, resource, group, namespace })
    }

    /// Only what one may do oneself can be handed on. Such as `user "u" (groups=[...]) is
    /// attempting to grant RBAC permissions not currently held: {APIGroups:["g"],
    /// Resources:["r"], Verbs:["v"]}`.
    /// <https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>
    fn refused_to_hand_on(sentence: &str) -> Option<Self> {
        let (_, rest) = sentence.split_once("permissions not currently held")?;
        let first = |list: &str| {
            let (_, rest) = rest.split_once(&format!("{list}:[\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        let (verb, resource) = (first("Verbs")?, first("Resources")?);
        Some(Self { verb, resource, group: first("APIGroups")?, namespace: None })
    }

    /// The right that a request uses, by its method, its path and whether it asks for a watch;
    /// none of a path that is no resource's.
    /// <https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>
    pub fn of_request(method: &str, path: &str, watches: bool) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let group = match parts.next()? {
            "api" => "",
            "apis" => parts.next()?,
            _ => return None,
        };
        let _version = parts.next()?;
        let mut resource = parts.next()?;
        let mut namespace = None;
        let mut name = parts.next();
        if resource == "namespaces"
            && let Some(inner) = parts.next()
        {
            namespace = name.map(str::to_owned);
            resource = inner;
            name = parts.next();
        }
        let resource = match parts.next() {
            Some(part) => format!("{resource}/{part}"),
            None => resource.to_owned(),
        };
        let verb = match (method, name) {
            ("GET", _) if watches => "watch",
            ("GET", None) => "list",
            ("GET", Some(_)) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", _) => "delete",
            _ => return None,
        };
        Some(Self { verb: verb.to_owned(), resource, group: group.to_owned(), namespace })
    }

    /// Whether who has the other has this one.
    fn is_in(&self, other: &Self) -> bool {
        (&self.verb, &self.resource, &self.group) == (&other.verb, &other.resource, &other.group)
            && (other.namespace.is_none() || self.namespace == other.namespace)
    }

    /// The rule of a role that gives it.
    fn rule(&self) -> String {
        let Self { verb, resource, group, .. } = self;
        format!("apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{verb}]")
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

/// What to write for rights that are missing, as a sentence.
pub fn advice<'a>(missing: impl IntoIterator<Item = &'a Right>) -> String {
    let missing: Vec<&Right> = missing.into_iter().collect();
    let list = |of: &dyn Fn(&Right) -> String, between: &str| {
        let mut texts: Vec<String> = missing.iter().map(|right| of(right)).collect();
        texts.dedup();
        texts.join(between)
    };
    format!(
        "the operator may not {}: run kubectl apply -f manifests/operator/rbac.yaml, or add to its \
         role {}",
        list(&Right::to_string, ", "),
        list(&Right::rule, "; ")
    )
}

/// The rights that are known to be missing: when each was refused last, and to which request.
#[derive(Debug, Default)]
pub struct Missing(BTreeMap<Right, (Duration, Option<Right>)>);

impl Missing {
    /// It was refused at `now` (uptime) to a request of its own or of another right; true if that
    /// is news.
    pub fn refused(&mut self, right: Right, request: Option<Right>, now: Duration) -> bool {
        self.0.retain(|_, (at, _)| now.saturating_sub(*at) <= FORGET_AFTER);
        (self.0.len() < MOST || self.0.contains_key(&right))
            && self.0.insert(right, (now, request)).is_none()
    }

    /// It was not refused, and what it has made was not there before; gives what had been
    /// missing until then.
    pub fn granted(&mut self, right: &Right, made: bool) -> Vec<Right> {
        let creates = made.then(|| Right { verb: "create".into(), ..right.clone() });
        let is_there = |missing: &Right, request: &Option<Right>| {
            missing.is_in(right)
                || creates.as_ref().is_some_and(|creates| missing.is_in(creates))
                // What another right was needed for has gone well.
                || missing.resource != right.resource && request.as_ref() == Some(right)
        };
        let now_there: Vec<Right> = self
            .0
            .iter()
            .filter(|(missing, (_, request))| is_there(missing, request))
            .map(|(missing, _)| missing.clone())
            .collect();
        self.0.retain(|right, _| !now_there.contains(right));
        now_there
    }

    /// All that matter in a namespace; with none, all.
    pub fn of(&self, namespace: Option<&str>) -> Vec<Right> {
        let matters = |right: &&Right| match (&right.namespace, namespace) {
            (Some(of), Some(namespace)) => of == namespace,
            _ => true,
        };
        self.0.keys().filter(matters).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(verb: &str, resource: &str, group: &str, namespace: Option<&str>) -> Right {
        Right {
            verb: verb.into(),
            resource: resource.into(),
            group: group.into(),
            namespace: namespace.map(str::to_owned),
        }
    }

    #[test]
    fn a_refusal_names_the_right() {
        let said = "secrets is forbidden: User \"system:serviceaccount:a:b\" cannot list resource \
                    \"secrets\" in API group \"\" at the cluster scope";
        assert_eq!(Right::refused(said), Some(right("list", "secrets", "", None)));
        let said = "deployments.apps \"x\" is forbidden: User \"u\" cannot create resource \
                    \"deployments\" in API group \"apps\" in the namespace \"cameras\"";
        let wanted = right("create", "deployments", "apps", Some("cameras"));
        assert_eq!(Right::refused(said), Some(wanted));
        let said = "roles.rbac.authorization.k8s.io \"x\" is forbidden: user \"u\" (groups=[\"a\"]) is \
                    attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"g\"], \
                    Resources:[\"deviceslices\"], Verbs:[\"create\"]}";
        assert_eq!(Right::refused(said), Some(right("create", "deviceslices", "g", None)));
        let quota = "pods \"x\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1";
        assert_eq!(Right::refused(quota), None);
    }

    #[test]
    fn a_request_uses_a_right() {
        for (method, path, watches, wanted) in [
            ("GET", "/api/v1/secrets", true, right("watch", "secrets", "", None)),
            ("GET", "/api/v1/secrets", false, right("list", "secrets", "", None)),
            (
                "GET",
                "/api/v1/namespaces/a/secrets/b",
                false,
                right("get", "secrets", "", Some("a")),
            ),
            (
                "PATCH",
                "/apis/streamhub.microboxlabs.com/v1alpha1/namespaces/a/streamprocessors/b/status",
                false,
                right("patch", "streamprocessors/status", "streamhub.microboxlabs.com", Some("a")),
            ),
            (
                "POST",
                "/apis/events.k8s.io/v1/namespaces/a/events",
                false,
                right("create", "events", "events.k8s.io", Some("a")),
            ),
            ("GET", "/api/v1/namespaces/a", false, right("get", "namespaces", "", None)),
        ] {
            assert_eq!(Right::of_request(method, path, watches), Some(wanted), "{method} {path}");
        }
        assert_eq!(Right::of_request("GET", "/openapi/v3", false), None);
    }

    #[test]
    fn a_right_is_missing_until_it_is_used_or_long_past() {
        let mut missing = Missing::default();
        let secrets = right("list", "secrets", "", None);
        let make = right("create", "deployments", "apps", Some("cameras"));
        assert!(missing.refused(secrets.clone(), None, Duration::ZERO));
        assert!(!missing.refused(secrets.clone(), None, Duration::from_secs(1)));
        assert!(missing.refused(make.clone(), None, Duration::from_secs(1)));
        assert_eq!(missing.of(Some("other")), std::slice::from_ref(&secrets));
        assert_eq!(missing.of(Some("cameras")).len(), 2);
        // An apply that mends does not show that one may create.
        let apply = right("patch", "deployments", "apps", Some("cameras"));
        assert_eq!(missing.granted(&apply, false), []);
        assert_eq!(missing.granted(&apply, true), [make]);
        let pods = right("get", "pods", "", None);
        assert!(missing.refused(pods.clone(), None, Duration::from_secs(700)));
        assert_eq!(missing.of(None), [pods]);
        // What is handed on is not used by itself.
        let hand_on = right("create", "deviceslices", "streamhub.microboxlabs.com", None);
        let roles = right("patch", "roles", "rbac.authorization.k8s.io", Some("cameras"));
        missing.refused(hand_on.clone(), Some(roles.clone()), Duration::from_secs(701));
        assert_eq!(missing.granted(&roles, false), [hand_on]);
    }

    #[test]
    fn advice_names_what_to_add() {
        let said = advice(&[right("list", "secrets", "", None)]);
        assert!(said.contains("may not list secrets") && said.contains("rbac.yaml"), "{said}");
        assert!(said.contains("apiGroups: [\"\"], resources: [secrets], verbs: [list]"), "{said}");
    }
}
