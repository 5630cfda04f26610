//! Sums in the order in which the reference's numeric library adds.
//!
//! An embedding is compared with numbers that were made of itself, so the last bit of a sum decides
//! about ties: every order here is that of the reference.

use std::collections::VecDeque;

/// Fewest numbers that are added in several lanes, and the number of lanes.
const LANES: usize = 8;
/// Most numbers that are added in one go.
const BLOCK: usize = 128;

/// Sum of numbers that lie in a row.
pub(super) fn sum(numbers: &[f64]) -> f64 {
    if numbers.len() > BLOCK {
        let half = numbers.len() / 2;
        let (left, right) = numbers.split_at(half - half % LANES);
        return sum(left) + sum(right);
    }
    let Some((first, rest)) = numbers.split_first_chunk::<LANES>() else {
        return numbers.iter().sum();
    };
    let mut lanes = *first;
    let blocks = rest.chunks_exact(LANES);
    let tail = blocks.remainder();
    for block in blocks {
        lanes.iter_mut().zip(block).for_each(|(lane, x)| *lane += x);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    let whole = ((a + b) + (c + d)) + ((e + f) + (g + h));
    tail.iter().fold(whole, |sum, x| sum + x)
}

/// Sums of the columns of a table.
pub(super) fn column_sums<'a>(rows: impl Iterator<Item = &'a Vec<f64>>) -> Vec<f64> {
    let rows: Vec<&[f64]> = rows.map(Vec::as_slice).collect();
    match rows.first() {
        // A single column lies in a row.
        Some([_]) => vec![sum(&rows.concat())],
        Some(first) => {
            let mut sums = vec![0.0; first.len()];
            for row in rows {
                sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            }
            sums
        }
        None => Vec::new(),
    }
}

/// Products of the rows of a table with a vector: pairs of lanes, four pairs at a time from the last
/// to the first, without fused steps.
pub(super) fn row_products(rows: &VecDeque<Vec<f64>>, vector: &[f64]) -> Vec<f64> {
    rows.iter().map(|row| row_product(row, vector)).collect()
}

fn row_product(row: &[f64], vector: &[f64]) -> f64 {
    let mut lanes = [0.0; 2];
    let mut pair = |a: &[f64], b: &[f64]| {
        let products = a.iter().zip(b).map(|(a, b)| a * b);
        lanes
            .iter_mut()
            .zip(products)
            .for_each(|(lane, x)| *lane += x);
    };
    let (blocks, others) = (row.chunks_exact(8), vector.chunks_exact(8));
    let (tail, other_tail) = (blocks.remainder(), others.remainder());
    for (a, b) in blocks.zip(others) {
        a.chunks(2)
            .zip(b.chunks(2))
            .rev()
            .for_each(|(a, b)| pair(a, b));
    }
    let pairs = tail.chunks(2).zip(other_tail.chunks(2));
    pairs.for_each(|(a, b)| pair(a, b));
    lanes[0] + lanes[1]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums that numpy 2.2 answered for the numbers 1/1, 1/2, ... 1/n.
    #[test]
    fn sums_are_those_of_the_reference() {
        for (n, whole) in [
            (5, 2.283333333333333),
            (24, 3.775958177753507),
            (25, 3.815958177753507),
            (300, 6.282663880299504),
        ] {
            let numbers: Vec<f64> = (1..=n).map(|i| 1.0 / f64::from(i)).collect();
            assert_eq!(sum(&numbers).to_bits(), f64::to_bits(whole), "{n}");
        }
    }

    /// Products that numpy 2.2's `einsum` answered for 1/1, 1/2, ... 1/n with √2, √3, ... √(n + 1).
    #[test]
    fn products_are_those_of_the_reference() {
        for (n, whole) in [
            (3, 2.9469056328242003),
            (5, 3.9958205757557836),
            (6, 4.436779127599882),
            (7, 4.840840145420766),
            (8, 5.215840145420766),
        ] {
            let row: Vec<f64> = (1..=n).map(|i| 1.0 / f64::from(i)).collect();
            let vector: Vec<f64> = (1..=n).map(|i| f64::from(i + 1).sqrt()).collect();
            let products = row_products(&[row].into(), &vector);
            assert_eq!(products[0].to_bits(), f64::to_bits(whole), "{n}");
        }
    }

    #[test]
    fn columns_are_added_row_by_row_but_a_single_one_in_lanes() {
        let rows = [vec![1.0, 2.0], vec![3.0, 4.0]];
        assert_eq!(column_sums(rows.iter()), [4.0, 6.0]);
        let column: Vec<Vec<f64>> = (1..=40).map(|i| vec![1.0 / f64::from(i)]).collect();
        let numbers: Vec<f64> = column.concat();
        assert_eq!(column_sums(column.iter()), [sum(&numbers)]);
        assert!(column_sums([].iter()).is_empty());
    }
}
