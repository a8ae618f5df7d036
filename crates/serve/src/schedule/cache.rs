//! Vectors of texts that come again.

use lru::LruCache;

use super::Vector;
use super::queue::Key;

/// What an entry takes besides its tokens and values: the key, two reference counts, links and the slot of the
/// table.
const ENTRY_BYTES: usize = 160;

/// Exact results by model and tokens; of those, the ones that were used last.
pub struct Cache {
    vectors: LruCache<Key, Vector>,
    bytes: usize,
    most_bytes: usize,
}

impl Cache {
    /// An empty cache of at most this many bytes.
    pub fn new(most_bytes: usize) -> Self {
        Self {
            vectors: LruCache::unbounded(),
            bytes: 0,
            most_bytes,
        }
    }

    pub fn contains(&self, key: &Key) -> bool {
        self.vectors.contains(key)
    }

    /// The vector of a text, which counts as a use.
    pub fn get(&mut self, key: &Key) -> Option<Vector> {
        self.vectors.get(key).cloned()
    }

    /// Keeps a vector; those whose last use is longest ago make room for it.
    pub fn insert(&mut self, key: Key, vector: Vector) {
        let bytes = size(&key, &vector);
        if bytes > self.most_bytes {
            return;
        }
        self.bytes += bytes;
        if let Some((key, vector)) = self.vectors.push(key, vector) {
            self.bytes -= size(&key, &vector);
        }
        while self.bytes > self.most_bytes {
            let Some((key, vector)) = self.vectors.pop_lru() else {
                break;
            };
            self.bytes -= size(&key, &vector);
        }
    }

    pub fn clear(&mut self) {
        self.vectors.clear();
        self.bytes = 0;
    }

    /// Bytes that are taken, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size(key: &Key, vector: &Vector) -> usize {
    ENTRY_BYTES + size_of_val(&*key.ids) + size_of_val(&**vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u32) -> Key {
        Key {
            model: 0,
            ids: [id].into(),
        }
    }

    #[test]
    fn what_was_used_last_stays() {
        let vector: Vector = [0.5; 10].into();
        let bytes = size(&key(0), &vector);
        let mut cache = Cache::new(2 * bytes);
        cache.insert(key(1), vector.clone());
        cache.insert(key(2), vector.clone());
        cache.insert(key(2), vector.clone());
        assert!(cache.get(&key(1)).is_some());
        cache.insert(key(3), vector.clone());
        assert!(cache.contains(&key(1)) && !cache.contains(&key(2)));
        assert_eq!(cache.bytes(), 2 * bytes);
        cache.clear();
        assert_eq!((cache.bytes(), cache.contains(&key(1))), (0, false));
        Cache::new(0).insert(key(1), vector);
    }
}
