//! Makes the plan of a finding smaller for as long as something is still found.

use crate::plan::{Kind, Plan};

/// The smallest plan with a finding that leaving things out one after the other leads to.
pub fn shrink(plan: &Plan, mut is_found: impl FnMut(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    loop {
        let before = size(&best);
        best = without(best, |plan| &mut plan.faults, &mut is_found);
        best = without(best, |plan| &mut plan.frames, &mut is_found);
        for simpler in simpler(&best) {
            if is_found(&simpler) {
                best = simpler;
            }
        }
        if size(&best) >= before {
            return best;
        }
    }
}

fn size(plan: &Plan) -> usize {
    let odd = |frame: &&crate::plan::Frame| frame.kind != Kind::Good || frame.again.is_some();
    let oddities = plan.frames.iter().filter(odd).count();
    plan.frames.len() + plan.faults.len() + oddities + plan.workers + plan.partitions
}

/// Leaves out halves, then quarters, down to single items.
fn without<T: Clone>(
    mut best: Plan,
    items: impl Fn(&mut Plan) -> &mut Vec<T>,
    is_found: &mut impl FnMut(&Plan) -> bool,
) -> Plan {
    let mut chunk = items(&mut best).len().div_ceil(2);
    while chunk > 0 {
        let mut from = 0;
        while from < items(&mut best).len() {
            let mut smaller = best.clone();
            let kept = items(&mut smaller);
            kept.drain(from..(from + chunk).min(kept.len()));
            if is_found(&smaller) {
                best = smaller;
            } else {
                from += chunk;
            }
        }
        chunk /= 2;
    }
    best
}

/// Plans that differ in one thing that a reader need not think about.
fn simpler(plan: &Plan) -> Vec<Plan> {
    let mut plans = Vec::new();
    let mut add = |change: &dyn Fn(&mut Plan)| {
        let mut other = plan.clone();
        change(&mut other);
        plans.push(other);
    };
    if plan.workers > 1 {
        add(&|plan| plan.workers -= 1);
    }
    if plan.partitions > 1 {
        add(&|plan| plan.partitions = 1);
    }
    add(&|plan| plan.is_fmp4 = false);
    for index in 0..plan.frames.len() {
        add(&|plan| plan.frames[index].again = None);
        add(&|plan| plan.frames[index].kind = Kind::Good);
    }
    plans
}
