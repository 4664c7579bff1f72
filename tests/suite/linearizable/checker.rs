//! Looks for an order of the calls in which the model gives the same answers.
//!
//! Wing and Gong's search: take any call that nothing else must precede, ask the model, go on, and come back if stuck.
//! What makes it quick: a call that changes nothing is taken as soon as it fits, since it can stand in nobody's way; and
//! where a search has been in vain is remembered, by what was taken and what the product was (Lowe).

use std::{collections::HashSet, fmt};

use super::{
    history::{Operation, Reply},
    model::{Product, Step},
};

/// A search that has looked at more than this is given up.
const MOST: usize = 50_000;

type Taken = Vec<u64>;

/// How the search ended.
#[derive(Debug)]
pub enum Verdict {
    /// There is an order.
    Linearizable { looked_at: usize },
    /// There is none. The longest way that was found, and what could not follow.
    Broken { taken: Vec<Operation>, stuck: Vec<Operation>, product: Product },
    /// It would take too long to know.
    TooHard,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (taken, stuck, product) = match self {
            Self::Linearizable { looked_at } => return write!(f, "linearizable, {looked_at} looked at"),
            Self::TooHard => return write!(f, "no order found among {MOST}"),
            Self::Broken { taken, stuck, product } => (taken, stuck, product),
        };
        writeln!(f, "not linearizable. The longest order found:")?;
        taken.iter().try_for_each(|operation| writeln!(f, "  {operation}"))?;
        writeln!(f, "which leaves {product:?}, and then none of these fits:")?;
        stuck.iter().try_for_each(|operation| writeln!(f, "  {operation}"))
    }
}

struct Search<'a> {
    operations: &'a [Operation],
    /// For each call, those that must stand before it.
    before: Vec<Taken>,
    in_vain: HashSet<(Taken, Product)>,
    order: Vec<usize>,
    longest: (Vec<usize>, Product),
}

/// Judges the history of one product.
pub fn judge(operations: &[Operation]) -> Verdict {
    let words = operations.len().div_ceil(64);
    let before = operations.iter().map(|later| {
        let mut before = vec![0; words];
        let all = operations.iter().enumerate().filter(|(_, earlier)| earlier.precedes(later));
        all.for_each(|(at, _)| set(&mut before, at));
        before
    });
    let mut search = Search {
        operations,
        before: before.collect(),
        in_vain: HashSet::new(),
        order: Vec::new(),
        longest: (Vec::new(), Product::default()),
    };
    match search.go_on(vec![0; words], Product::default()) {
        Some(true) => Verdict::Linearizable { looked_at: search.in_vain.len() },
        None => Verdict::TooHard,
        Some(false) => {
            let (order, product) = search.longest;
            let mut taken = vec![0; words];
            order.iter().for_each(|&at| set(&mut taken, at));
            let pending = (0..operations.len())
                .filter(|&at| !has(&taken, at) && operations[at].reply != Reply::Unknown);
            let stuck = pending.filter(|&at| subset(&search.before[at], &taken));
            Verdict::Broken {
                stuck: stuck.map(|at| operations[at].clone()).collect(),
                taken: order.into_iter().map(|at| operations[at].clone()).collect(),
                product,
            }
        }
    }
}

impl Search<'_> {
    /// Whether all that was answered can be taken from here; `None` = too hard to say.
    fn go_on(&mut self, mut taken: Taken, product: Product) -> Option<bool> {
        let began = self.order.len();
        self.take_what_changes_nothing(&mut taken, &product);
        if self.order.len() > self.longest.0.len() {
            self.longest = (self.order.clone(), product.clone());
        }
        let answered = |at: &usize| self.operations[*at].reply != Reply::Unknown;
        if (0..self.operations.len()).filter(answered).all(|at| has(&taken, at)) {
            return Some(true);
        }
        if self.in_vain.len() >= MOST {
            return None;
        }
        if self.in_vain.insert((taken.clone(), product.clone())) {
            let mut next: Vec<usize> = self.free(&taken).collect();
            self.most_promising_first(&mut next, &product);
            for at in next {
                let operation = &self.operations[at];
                let Step::Becomes(after) = product.step(operation.call, operation.reply) else { continue };
                let mut more = taken.clone();
                set(&mut more, at);
                self.order.push(at);
                match self.go_on(more, after) {
                    Some(false) => self.order.pop(),
                    end => return end,
                };
            }
        }
        self.order.truncate(began);
        Some(false)
    }

    /// Nothing can go on without the call that was answered first; so it comes first, then what lets it follow, then what
    /// concerns its version, and last what may never have happened. Others can wait until they are needed: the order
    /// matters for the time that it takes, not for what is found.
    fn most_promising_first(&self, next: &mut [usize], product: &Product) {
        let answered = next.iter().copied().filter(|&at| self.operations[at].returned.is_some());
        let Some(urgent) = answered.min_by_key(|&at| self.operations[at].returned) else { return };
        let wanted = &self.operations[urgent];
        next.sort_by_cached_key(|&at| {
            let operation = &self.operations[at];
            let helps = match product.step(operation.call, operation.reply) {
                Step::Becomes(after) => after.step(wanted.call, wanted.reply) != Step::Impossible,
                _ => false,
            };
            let concerns = wanted.version().is_none_or(|version| operation.version() == Some(version));
            let when = operation.returned.map_or((true, operation.invoked), |returned| (false, returned));
            (at != urgent, !helps, !concerns, when)
        });
    }

    fn take_what_changes_nothing(&mut self, taken: &mut Taken, product: &Product) {
        loop {
            let fits = |at: &usize| {
                let operation = &self.operations[*at];
                operation.reply != Reply::Unknown
                    && product.step(operation.call, operation.reply) == Step::Fits
            };
            let now: Vec<usize> = self.free(taken).filter(fits).collect();
            if now.is_empty() {
                return;
            }
            now.iter().for_each(|&at| set(taken, at));
            self.order.extend(now);
        }
    }

    /// What may come next.
    fn free<'s>(&'s self, taken: &'s Taken) -> impl Iterator<Item = usize> + 's {
        (0..self.operations.len()).filter(|&at| !has(taken, at) && subset(&self.before[at], taken))
    }
}

fn set(bits: &mut Taken, at: usize) {
    bits[at / 64] |= 1 << (at % 64);
}

fn has(bits: &Taken, at: usize) -> bool {
    bits[at / 64] & (1 << (at % 64)) != 0
}

fn subset(of: &Taken, bits: &Taken) -> bool {
    of.iter().zip(bits).all(|(of, bits)| of & !bits == 0)
}
