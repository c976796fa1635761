//! Arithmetic on sorted, disjoint runs of ports.

use portolan_scanner::net::Ports;

/// Ports `.0..=.1`.
pub type Run = (u16, u16);

/// The runs of a set of ports.
pub fn runs(ports: &Ports) -> Vec<Run> {
    ports.iter().collect()
}

/// The set of these runs.
pub fn ports(runs: &[Run]) -> Ports {
    runs.iter().copied().collect()
}

/// How many ports.
pub fn count(runs: &[Run]) -> u32 {
    runs.iter().map(|run| u32::from(run.1 - run.0) + 1).sum()
}

/// Those ports of `set` that lie in `run`.
pub fn within(set: &[Run], run: Run) -> impl Iterator<Item = Run> {
    let from = set.partition_point(|piece| piece.1 < run.0);
    set[from..]
        .iter()
        .take_while(move |piece| piece.0 <= run.1)
        .map(move |piece| (piece.0.max(run.0), piece.1.min(run.1)))
}

/// `set` without `cut`; both ascending and disjoint.
pub fn subtract(set: &[Run], cut: &[Run]) -> Vec<Run> {
    let mut left = Vec::with_capacity(set.len());
    for &(first, last) in set {
        let mut from = u32::from(first);
        for (gap_first, gap_last) in within(cut, (first, last)) {
            if from < u32::from(gap_first) {
                left.push((port(from), gap_first - 1));
            }
            from = u32::from(gap_last) + 1;
        }
        if from <= u32::from(last) {
            left.push((port(from), last));
        }
    }
    left
}

/// Sorts, and joins neighbours.
pub fn normalise(runs: &mut Vec<Run>) {
    runs.sort_unstable();
    runs.dedup_by(|next, run| {
        let joined = u32::from(run.1) + 1 >= u32::from(next.0);
        if joined {
            run.1 = run.1.max(next.1);
        }
        joined
    });
}

fn port(number: u32) -> u16 {
    u16::try_from(number).expect("not beyond the end of a run of ports")
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn what_is_cut_out_leaves_the_pieces_around_it() {
        let set = [(1, 10), (20, 30), (65535, 65535)];
        assert_eq!(subtract(&set, &[(3, 4), (9, 25), (65535, 65535)]), [(1, 2), (5, 8), (26, 30)]);
        assert_eq!(subtract(&set, &[]), set);
        assert_eq!(within(&set, (5, 22)).collect::<Vec<_>>(), [(5, 10), (20, 22)]);
        assert_eq!(count(&set), 22);
    }

    #[test]
    fn neighbours_join() {
        let mut runs = vec![(5, 9), (1, 4), (11, 12), (65535, 65535)];
        normalise(&mut runs);
        assert_eq!(runs, [(1, 9), (11, 12), (65535, 65535)]);
    }
}
