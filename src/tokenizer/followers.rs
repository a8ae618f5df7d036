//! Which tokens may still merge with what follows them.

/// A merge of two tokens.
#[derive(Clone, Copy)]
pub(super) struct Merge {
    pub left: u32,
    pub right: u32,
    pub joined: u32,
    /// Pairs of the smallest key merge first.
    pub key: u32,
}

/// For each token, the merges that it begins.
///
/// A pair merges when its key is the smallest of all, so keys mostly rise from merge to merge. They fall where a
/// merge makes a token whose own pair has a smaller key. How late that may be follows from the merges that may have
/// made both tokens.
pub(super) struct Followers {
    /// Where the merges of each token begin in `merges`, and where the last ones end.
    starts: Vec<u32>,
    /// Those of a token by their keys.
    merges: Vec<Follower>,
    /// The most symbols that may have become each token.
    lengths: Vec<u32>,
}

/// The right half of a merge.
#[derive(Clone, Copy, Default)]
struct Follower {
    key: u32,
    /// The largest key of all merges by which this one can come to be.
    latest: u32,
    /// The largest of these of all merges of the token up to this one.
    latest_until: u32,
    /// The most symbols that may have become the right token.
    length: u32,
}

impl Followers {
    /// Those of a vocabulary of `tokens` tokens. `merges` are sorted by their keys; each makes a longer token than
    /// both of its own are.
    pub fn new(tokens: usize, merges: impl Iterator<Item = Merge> + Clone) -> Self {
        let mut made = vec![0; tokens];
        let mut lengths = vec![1_u32; tokens];
        let latest = |merge: &Merge, made: &[u32]| {
            let parts = made[merge.left as usize].max(made[merge.right as usize]);
            parts.max(merge.key)
        };
        // Where every token is made before it merges, the second time changes nothing.
        loop {
            let mut changes = false;
            for merge in merges.clone() {
                let [left, right] = [merge.left, merge.right].map(|part| lengths[part as usize]);
                let joined = merge.joined as usize;
                let (time, length) = (latest(&merge, &made), left.saturating_add(right));
                changes |= time > made[joined] || length > lengths[joined];
                made[joined] = time.max(made[joined]);
                lengths[joined] = length.max(lengths[joined]);
            }
            if !changes {
                break;
            }
        }
        let mut starts = vec![0; tokens + 1];
        for merge in merges.clone() {
            starts[merge.left as usize + 1] += 1;
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        let mut ends = starts.clone();
        let mut own = vec![Follower::default(); sum as usize];
        for merge in merges {
            let left = merge.left as usize;
            let at = ends[left];
            let latest = latest(&merge, &made);
            let before = match at > starts[left] {
                true => own[at as usize - 1].latest_until,
                false => 0,
            };
            own[at as usize] = Follower {
                key: merge.key,
                latest,
                latest_until: latest.max(before),
                length: lengths[merge.right as usize],
            };
            ends[left] += 1;
        }
        Self {
            starts,
            merges: own,
            lengths,
        }
    }

    /// Whether a token may merge with some token after it by a key below `below`, when pairs of keys up to `time`
    /// have merged already. The token after it has become of symbols of which `after` was made, if that is known.
    pub fn may_merge(&self, token: u32, time: u32, below: u32, after: Option<u32>) -> bool {
        let token = token as usize;
        let bounds = (
            self.starts.get(token),
            self.starts.get(token.wrapping_add(1)),
        );
        let (Some(&start), Some(&end)) = bounds else {
            return false;
        };
        let merges = &self.merges[start as usize..end as usize];
        let count = merges.partition_point(|merge| merge.key < below);
        let merges = &merges[..count];
        if merges.last().is_none_or(|last| last.latest_until < time) {
            return false;
        }
        // A token that has merged is longer than before.
        let length = after.and_then(|after| self.lengths.get(after as usize));
        let length = length.copied().unwrap_or(0);
        let mut merges = merges.iter().rev();
        merges.any(|merge| merge.latest >= time && merge.length >= length)
    }

    /// Bytes of heap that they take.
    pub fn heap_size(&self) -> usize {
        let numbers = self.starts.capacity() + self.lengths.capacity();
        size_of::<u32>() * numbers + size_of::<Follower>() * self.merges.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(left: u32, right: u32, joined: u32, key: u32) -> Merge {
        Merge {
            left,
            right,
            joined,
            key,
        }
    }

    #[test]
    fn a_merge_is_possible_from_its_key_on_until_its_parts_are_made() {
        // a 0, b 1, ab 2, aab 3: the pair of a and ab has a smaller key than that of a and b.
        let merges = [merge(0, 2, 3, 4), merge(0, 1, 2, 7)];
        let followers = Followers::new(4, merges.into_iter());
        let may_merge = |token, time, below| followers.may_merge(token, time, below, None);
        assert!(!may_merge(0, 0, 4));
        assert!(may_merge(0, 0, 5));
        assert!(may_merge(0, 7, 5), "ab may have been made just now");
        assert!(!may_merge(0, 8, 5));
        assert!(may_merge(0, 7, 8));
        assert!(!may_merge(1, 0, u32::MAX));
        assert!(!may_merge(u32::MAX, 0, u32::MAX));
    }

    #[test]
    fn what_follows_is_no_shorter_than_it_was() {
        // a 0, aa 1, aaa 2 of aa and a.
        let merges = [merge(0, 0, 1, 0), merge(1, 0, 2, 1)];
        let followers = Followers::new(3, merges.into_iter());
        assert!(followers.may_merge(1, 0, 2, Some(0)));
        assert!(!followers.may_merge(1, 0, 2, Some(1)));
    }
}
