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
    /// Those of a token by their keys: the key, and the largest key of all merges by which those up to this one can
    /// come to be.
    merges: Vec<(u32, u32)>,
}

impl Followers {
    /// Those of a vocabulary of `tokens` tokens. `merges` are sorted by their keys; each makes a longer token than
    /// both of its own are.
    pub fn new(tokens: usize, merges: impl Iterator<Item = Merge> + Clone) -> Self {
        let mut made = vec![0; tokens];
        let latest = |merge: &Merge, made: &[u32]| {
            let parts = made[merge.left as usize].max(made[merge.right as usize]);
            parts.max(merge.key)
        };
        // Where every token is made before it merges, the second time changes nothing.
        loop {
            let mut changes = false;
            for merge in merges.clone() {
                let time = latest(&merge, &made);
                let known = &mut made[merge.joined as usize];
                changes |= time > *known;
                *known = time.max(*known);
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
        let mut own = vec![(0, 0); sum as usize];
        for merge in merges {
            let left = merge.left as usize;
            let at = ends[left];
            let before = match at > starts[left] {
                true => own[at as usize - 1].1,
                false => 0,
            };
            own[at as usize] = (merge.key, latest(&merge, &made).max(before));
            ends[left] += 1;
        }
        Self {
            starts,
            merges: own,
        }
    }

    /// Whether a token may merge with some token after it by a key below `below`, when pairs of keys up to `time`
    /// have merged already.
    pub fn may_merge(&self, token: u32, time: u32, below: u32) -> bool {
        let token = token as usize;
        let (Some(&start), Some(&end)) = (
            self.starts.get(token),
            self.starts.get(token.wrapping_add(1)),
        ) else {
            return false;
        };
        let merges = &self.merges[start as usize..end as usize];
        let count = merges.partition_point(|&(key, _)| key < below);
        count
            .checked_sub(1)
            .is_some_and(|last| merges[last].1 >= time)
    }

    /// Bytes of heap that they take.
    pub fn heap_size(&self) -> usize {
        size_of::<u32>() * self.starts.capacity() + size_of::<(u32, u32)>() * self.merges.capacity()
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
        assert!(!followers.may_merge(0, 0, 4));
        assert!(followers.may_merge(0, 0, 5));
        assert!(
            followers.may_merge(0, 7, 5),
            "ab may have been made just now"
        );
        assert!(!followers.may_merge(0, 8, 5));
        assert!(followers.may_merge(0, 7, 8));
        assert!(!followers.may_merge(1, 0, u32::MAX));
        assert!(!followers.may_merge(u32::MAX, 0, u32::MAX));
    }
}
