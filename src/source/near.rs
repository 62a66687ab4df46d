//! Binary search from a place that is likely near.

/// As `partition_point`, for one question after another in a long list: few elements are looked at where the answer is
/// near `from`, the answer before.
pub(crate) fn partition_point<T>(list: &[T], from: usize, passes: impl Fn(&T) -> bool) -> usize {
    let Some(first) = list.get(from).filter(|first| passes(first)).map(|_| from) else {
        return list[..from.min(list.len())].partition_point(passes);
    };
    let (mut low, mut step) = (first, 1);
    while list.get(low + step).is_some_and(&passes) {
        low += step;
        step *= 2;
    }
    let high = list.len().min(low + step);
    low + 1 + list[low + 1..high].partition_point(passes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_does_not_depend_on_where_it_is_looked_for() {
        for length in 0..20 {
            let list: Vec<usize> = (0..length).collect();
            for from in 0..length + 2 {
                for answer in 0..=length {
                    assert_eq!(partition_point(&list, from, |it| *it < answer), answer, "{length}, from {from}");
                }
            }
        }
    }
}
