//! The order in which CPython walks a set of small numbers.
//!
//! The reference keeps what a matching leaves over in sets, and starts and drops tracks in the order in
//! which it walks them: with a few large numbers that is not ascending, and it decides which new track gets
//! which id.

/// An empty place.
const EMPTY: usize = usize::MAX;
/// Places of a small table.
const LEAST: usize = 8;
/// Places that are tried one after the other before the search jumps.
const NEIGHBOURS: usize = 9;

/// Orders what is left over, keeping its working memory.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    table: Vec<usize>,
    before: Vec<usize>,
}

impl Leftovers {
    /// Orders the ascending numbers that are left of `all` as the difference of two sets of Python 3.11 is
    /// walked: such a set is a table in which a number stands at its value modulo the table's size, or
    /// behind if that place is taken. If few numbers were taken out, the table is that of all.
    pub(super) fn order(&mut self, left: &mut Vec<usize>, all: usize) {
        if all >> 2 > all - left.len() {
            return;
        }
        self.clear(LEAST);
        for (count, &number) in (1..).zip(left.iter()) {
            insert(&mut self.table, number);
            if count * 5 >= (self.table.len() - 1) * 3 {
                self.grow(if count > 50_000 { count * 2 } else { count * 4 });
            }
        }
        left.clear();
        left.extend(self.table.iter().filter(|&&number| number != EMPTY));
    }

    fn clear(&mut self, size: usize) {
        self.table.clear();
        self.table.resize(size, EMPTY);
    }

    /// A table of more than `least` places with the same numbers.
    fn grow(&mut self, least: usize) {
        std::mem::swap(&mut self.table, &mut self.before);
        self.clear((least + 1).next_power_of_two().max(LEAST));
        for &number in self.before.iter().filter(|&&number| number != EMPTY) {
            insert(&mut self.table, number);
        }
    }
}

fn insert(table: &mut [usize], number: usize) {
    let mask = table.len() - 1;
    let (mut place, mut rest) = (number & mask, number);
    loop {
        let last = if place + NEIGHBOURS <= mask {
            place + NEIGHBOURS
        } else {
            place
        };
        if let Some(free) = table[place..=last]
            .iter_mut()
            .find(|entry| **entry == EMPTY)
        {
            *free = number;
            return;
        }
        rest >>= 5;
        place = (place * 5 + 1 + rest) & mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `tuple(set(range(all)) - set(range(all)).difference(left))` is in Python 3.11.
    #[test]
    fn leftovers_are_walked_as_python_walks_them() {
        assert_eq!(ordered(12, &[4, 9]), [9, 4]);
        assert_eq!(ordered(32, &[1, 22]), [1, 22]);
        assert_eq!(ordered(40, &[3, 15, 29]), [3, 29, 15]);
        assert_eq!(ordered(40, &[7, 10, 15, 23, 30]), [7, 10, 15, 23, 30]);
        assert_eq!(
            ordered(60, &[0, 6, 13, 15, 24, 34, 36, 46]),
            [0, 34, 36, 6, 13, 46, 15, 24]
        );
        assert_eq!(
            ordered(200, &[18, 35, 40, 46, 71, 99, 104, 113, 158, 195, 196]),
            [35, 99, 195, 196, 71, 40, 104, 46, 113, 18, 158]
        );
        assert_eq!(
            ordered(
                70,
                &[
                    0, 1, 4, 9, 10, 11, 12, 13, 16, 18, 19, 20, 21, 23, 24, 26, 27, 34, 40, 43, 44,
                    55, 56, 58, 61, 63, 65, 67, 68, 69
                ]
            ),
            [
                0, 1, 4, 9, 10, 11, 12, 13, 16, 18, 19, 20, 21, 23, 24, 26, 27, 34, 40, 43, 44, 55,
                56, 58, 61, 63, 65, 67, 68, 69
            ]
        );
        assert_eq!(
            ordered(
                20,
                &[
                    0, 1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19
                ]
            ),
            [
                0, 1, 2, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19
            ]
        );
        assert_eq!(ordered(12, &[1, 8]), [8, 1]);
    }

    fn ordered(all: usize, left: &[usize]) -> Vec<usize> {
        let mut left = left.to_vec();
        Leftovers::default().order(&mut left, all);
        left
    }
}
