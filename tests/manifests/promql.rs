//! As much of PromQL as the files use: tokens, and what they are there for. What is not known is
//! an error, so that a new construct has to be taught here first.
//! <https://prometheus.io/docs/prometheus/latest/querying/basics/>

use std::collections::BTreeSet;

/// Functions that take a range, and whether they are for what only grows.
const OF_RANGES: &[(&str, bool)] = &[("rate", true), ("increase", true), ("min_over_time", false)];
const OF_INSTANTS: &[&str] = &["histogram_quantile", "absent"];
const AGGREGATIONS: &[&str] = &["sum", "min", "max"];
/// Words that are followed by a list of labels.
const LISTS: &[&str] = &["by", "on"];
const SET_OPERATORS: &[&str] = &["and"];

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Token {
    Word(String),
    Number(String),
    Text(String),
    Sign(String),
}

/// What is asked of one metric.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    pub metric: String,
    /// Label, operator, value.
    pub matchers: Vec<(String, String, String)>,
    /// For a range: whether its function is for what only grows.
    pub range_counts: Option<bool>,
}

/// What an expression asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Query {
    pub selectors: Vec<Selector>,
    /// The labels of all its `by` and `on`.
    pub listed: BTreeSet<String>,
    pub functions: BTreeSet<String>,
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '$')
}

/// The tokens of an expression.
pub fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut rest = text;
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_whitespace() {
            first.len_utf8()
        } else if first.is_ascii_digit() {
            let end = rest.find(|c: char| !is_word(c) && c != '.').unwrap_or(rest.len());
            tokens.push(Token::Number(rest[..end].into()));
            end
        } else if is_word(first) {
            let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].into()));
            end
        } else if first == '"' {
            let inner = &rest[1..];
            let end = inner.find('"').ok_or_else(|| format!("a text has no end: {rest}"))?;
            if inner[..end].contains('\\') {
                return Err(format!("escapes are not known here: {rest}"));
            }
            tokens.push(Token::Text(inner[..end].into()));
            end + 2
        } else {
            let signs = ["=~", "!~", "!=", "==", ">=", "<="];
            let one = signs.into_iter().find(|sign| rest.starts_with(sign));
            let one = one.unwrap_or(&rest[..first.len_utf8()]);
            if !signs.contains(&one) && !"(){}[],=+-*/<>".contains(one) {
                return Err(format!("{one:?} is not known: {rest}"));
            }
            tokens.push(Token::Sign(one.into()));
            one.len()
        };
        rest = &rest[length..];
    }
    Ok(tokens)
}

/// Reads an expression.
pub fn query(text: &str) -> Result<Query, String> {
    let tokens = tokens(text)?;
    let sign = |at: usize, wanted: &str| tokens.get(at) == Some(&Token::Sign(wanted.into()));
    let mut query = Query::default();
    // The functions of the brackets that are open.
    let mut open: Vec<Option<String>> = Vec::new();
    let mut called: Option<String> = None;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            Token::Word(word) if LISTS.contains(&word.as_str()) => {
                let end = (at..tokens.len()).find(|&i| sign(i, ")"));
                let end = end.filter(|_| sign(at, "(")).ok_or("a list of labels is expected")?;
                for (i, token) in tokens[at + 1..end].iter().enumerate() {
                    match token {
                        Token::Word(label) if i % 2 == 0 => query.listed.insert(label.clone()),
                        Token::Sign(comma) if i % 2 == 1 && comma == "," => true,
                        other => return Err(format!("not a list of labels: {other:?}")),
                    };
                }
                at = end + 1;
            }
            Token::Word(word) if SET_OPERATORS.contains(&word.as_str()) => {}
            Token::Word(word) if AGGREGATIONS.contains(&word.as_str()) => {
                if !sign(at, "(") && tokens.get(at) != Some(&Token::Word("by".into())) {
                    return Err(format!("{word} of nothing"));
                }
                query.functions.insert(word.clone());
            }
            Token::Word(word) if sign(at, "(") => {
                let known = OF_RANGES.iter().any(|(name, _)| name == word);
                if !known && !OF_INSTANTS.contains(&word.as_str()) {
                    return Err(format!("{word} is not a known function"));
                }
                query.functions.insert(word.clone());
                called = Some(word.clone());
            }
            Token::Word(metric) => {
                let mut matchers = Vec::new();
                if sign(at, "{") {
                    loop {
                        let Some([Token::Word(label), Token::Sign(operator), Token::Text(value)]) =
                            tokens.get(at + 1..at + 4)
                        else {
                            return Err(format!("{metric}: a matcher is expected"));
                        };
                        if !["=", "!=", "=~", "!~"].contains(&operator.as_str()) {
                            return Err(format!("{metric}: {operator} does not match"));
                        }
                        matchers.push((label.clone(), operator.clone(), value.clone()));
                        at += 4;
                        if sign(at, "}") {
                            break;
                        } else if !sign(at, ",") {
                            return Err(format!("{metric}: its matchers have no end"));
                        }
                    }
                    at += 1;
                }
                let function = open.last().and_then(Option::as_deref);
                let of_range = OF_RANGES.iter().find(|(name, _)| Some(*name) == function);
                let mut range_counts = None;
                if sign(at, "[") {
                    let range = match tokens.get(at + 1) {
                        Some(Token::Number(range)) => range.ends_with(['s', 'm', 'h', 'd']),
                        Some(Token::Word(range)) => range == "$__rate_interval",
                        _ => false,
                    };
                    if !range || !sign(at + 2, "]") {
                        return Err(format!("{metric}: its range is not one"));
                    }
                    let (_, counts) =
                        of_range.ok_or(format!("{metric}: a range of no function"))?;
                    range_counts = Some(*counts);
                    at += 3;
                } else if of_range.is_some() {
                    return Err(format!("{metric}: its function needs a range"));
                }
                query.selectors.push(Selector { metric: metric.clone(), matchers, range_counts });
            }
            Token::Sign(bracket) if bracket == "(" => open.push(called.take()),
            Token::Sign(bracket) if bracket == ")" => {
                open.pop().ok_or("a bracket is closed that is not open")?;
            }
            Token::Sign(bracket) if "{}[]=".contains(bracket.as_str()) => {
                return Err(format!("{bracket} of no metric"));
            }
            Token::Sign(_) | Token::Number(_) => {}
            Token::Text(text) => return Err(format!("{text:?} matches nothing")),
        }
    }
    if open.is_empty() { Ok(query) } else { Err("a bracket is not closed".into()) }
}

#[test]
fn an_expression_is_taken_apart() {
    let text = r#"histogram_quantile(0.95, sum by (job, le) (rate(a_bucket{x=~"b|c"}[5m]))) > 2"#;
    let query = query(text).unwrap();
    assert_eq!(query.listed, ["job", "le"].map(String::from).into());
    let matchers = vec![("x".into(), "=~".into(), "b|c".into())];
    let selector = Selector { metric: "a_bucket".into(), matchers, range_counts: Some(true) };
    assert_eq!(query.selectors, [selector]);
}

#[test]
fn what_prometheus_would_refuse_is_refused() {
    for text in [
        "sum(a",
        "sum(a))",
        "summe(a)",
        "rate(a)",
        "sum(a[5m])",
        "rate(a[soon])",
        "a{b}",
        "a{b=\"c\"",
        "a{b==\"c\"}",
        "sum by job (a)",
        "a ; b",
        "a{b=\"c}",
    ] {
        assert!(query(text).is_err(), "{text}");
    }
}
