//! The order in which the reference walks a set of numbers.
//!
//! Some of the reference's answers are lists made of a hash set. For texts that order changes from
//! process to process; for numbers it follows from the numbers and the order in which they came in,
//! and clients see it. [`HashOrder`] lays items out as CPython 3 lays out a set (open addressing with
//! short linear runs, `Objects/setobject.c`), and [`number_hash`] gives the hash of a number
//! (`Python/pyhash.c`). Items must differ: nothing is compared.

use super::Value;

/// Slots looked at one after the other before a jump.
const LINEAR_PROBES: usize = 9;
const PERTURB_SHIFT: u32 = 5;
const SMALLEST: usize = 8;
/// Hashes are residues of this prime, 2⁶¹ − 1.
const MODULUS: u64 = (1 << BITS) - 1;
const BITS: u32 = 61;

/// Different items in the order of a hash set.
#[derive(Clone, Debug)]
pub struct HashOrder<T> {
    slots: Vec<Option<(u64, T)>>,
    used: usize,
}

impl<T: Clone> Default for HashOrder<T> {
    fn default() -> Self {
        Self {
            slots: vec![None; SMALLEST],
            used: 0,
        }
    }
}

impl<T: Clone> HashOrder<T> {
    /// Adds an item that is not there yet.
    pub fn add(&mut self, hash: i64, item: T) {
        self.place(hash as u64, item);
        self.used += 1;
        if self.used * 5 >= self.mask() * 3 {
            self.grow(self.used * if self.used > 50_000 { 2 } else { 4 });
        }
    }

    /// A new set of these items and those of another set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut whole = Self::default();
        whole.merge(self);
        whole.merge(other);
        whole
    }

    /// The items in the order of the set.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|(_, item)| item)
    }

    fn merge(&mut self, other: &Self) {
        if other.used == 0 {
            return;
        }
        if (self.used + other.used) * 5 >= self.mask() * 3 {
            self.grow((self.used + other.used) * 2);
        }
        if self.used == 0 && self.slots.len() == other.slots.len() {
            *self = other.clone();
            return;
        }
        let into_empty = self.used == 0;
        for (hash, item) in other.slots.iter().flatten() {
            if into_empty {
                self.place(*hash, item.clone());
            } else {
                self.add(*hash as i64, item.clone());
            }
        }
        if into_empty {
            self.used = other.used;
        }
    }

    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    fn grow(&mut self, least: usize) {
        let mut size = SMALLEST;
        while size <= least {
            size *= 2;
        }
        let old = std::mem::replace(&mut self.slots, vec![None; size]);
        for (hash, item) in old.into_iter().flatten() {
            self.place(hash, item);
        }
    }

    /// Puts an item into the first free slot of its sequence.
    fn place(&mut self, hash: u64, item: T) {
        let mask = self.mask();
        let mut perturb = hash;
        let mut at = hash as usize & mask;
        loop {
            let run = if at + LINEAR_PROBES <= mask {
                LINEAR_PROBES
            } else {
                0
            };
            let free = self.slots[at..=at + run].iter_mut().find(|s| s.is_none());
            if let Some(slot) = free {
                *slot = Some((hash, item));
                return;
            }
            perturb >>= PERTURB_SHIFT;
            at = at
                .wrapping_mul(5)
                .wrapping_add(1)
                .wrapping_add(perturb as usize)
                & mask;
        }
    }
}

/// The hash of a number or truth value; none of other values.
pub fn number_hash(value: &Value) -> Option<i64> {
    let float = match value {
        Value::Bool(flag) => return Some(i64::from(*flag)),
        Value::Int(_) | Value::BigInt(_) => {
            let n = value.as_whole()?;
            let rest = (n.unsigned_abs() % u128::from(MODULUS)) as i64;
            return Some(signed(rest, n < 0));
        }
        Value::Float(x) if x.is_finite() => *x,
        Value::Float(x) if x.is_infinite() => return Some(signed(314_159, *x < 0.0)),
        _ => return None,
    };
    Some(signed(float_residue(float.abs()), float < 0.0))
}

fn signed(residue: i64, negative: bool) -> i64 {
    match (residue, negative) {
        // −1 tells of an error in CPython, so no hash is −1.
        (1, true) => -2,
        (residue, true) => -residue,
        (residue, false) => residue,
    }
}

/// A number without sign modulo 2⁶¹ − 1, where halving is multiplying by the inverse of 2.
fn float_residue(x: f64) -> i64 {
    let bits = x.to_bits();
    let field = (bits >> 52) as i64;
    let fraction = bits & ((1 << 52) - 1);
    // x is mantissa · 2^exponent.
    let (mantissa, exponent) = match field {
        0 => (fraction, -1074),
        _ => (fraction | 1 << 52, field - 1075),
    };
    // Multiplying by a power of two turns the 61 bits of a residue.
    let turn = exponent.rem_euclid(i64::from(BITS)) as u32;
    let turned = (mantissa << turn) & MODULUS | mantissa >> (BITS - turn);
    (turned % MODULUS) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers as a set lists them.
    fn order(numbers: &[Value]) -> Vec<f64> {
        let mut set = HashOrder::default();
        for number in numbers {
            set.add(number_hash(number).unwrap(), number.as_f64().unwrap());
        }
        set.items().copied().collect()
    }

    fn whole(numbers: &[i64]) -> Vec<i64> {
        let values: Vec<Value> = numbers.iter().map(|n| Value::Int(*n)).collect();
        order(&values).iter().map(|x| *x as i64).collect()
    }

    /// Lists that CPython 3.11 answered.
    #[test]
    fn sets_are_walked_as_in_python() {
        assert_eq!(whole(&[4, 5, 8, 10]), [8, 10, 4, 5]);
        assert_eq!(whole(&[-1, -2, 0]), [0, -1, -2]);
        let many = [
            14, 123_646, 471_325, 146, 4, 408_744, 135, 467_022, 164, 131, 61, -14,
        ];
        let walked = [
            131, 4, 164, 135, 408_744, 14, 467_022, 146, 61, -14, 471_325, 123_646,
        ];
        assert_eq!(whole(&many), walked);
        let halves = [1.5, 2.25, -0.5, 0.1, 3.0, 1e9].map(Value::Float);
        let walked = [-0.5, 1.5, 2.25, 0.1, 3.0, 1e9];
        assert_eq!(order(&halves), walked);
    }

    #[test]
    fn a_union_has_an_order_of_its_own() {
        let of = |numbers: &[i64]| {
            let mut set = HashOrder::default();
            numbers.iter().for_each(|n| set.add(*n, *n));
            set
        };
        let union = of(&[9, 1]).union(&of(&[17, 2, 8]));
        let walked: Vec<i64> = union.items().copied().collect();
        assert_eq!(walked, [1, 17, 2, 8, 9]);
        assert_eq!(of(&[4, 12]).union(&of(&[])).items().count(), 2);
    }

    #[test]
    fn hashes_of_numbers_are_those_of_python() {
        for (value, hash) in [
            (Value::Float(0.5), 1_152_921_504_606_846_976),
            (Value::Float(-0.1), -230_584_300_921_369_408),
            (Value::Float(1e300), 1_224_995_262_755_759_164),
            (Value::Float(-1.0), -2),
            (Value::Float(5e-324), 16_777_216),
            (Value::Int(i64::MAX), 3),
            (Value::whole(1 << 63), 4),
            (Value::whole(-(1 << 63) - 5), -9),
            (Value::Bool(true), 1),
        ] {
            assert_eq!(number_hash(&value), Some(hash), "{value:?}");
        }
        assert_eq!(number_hash(&"a".into()), None);
    }
}
