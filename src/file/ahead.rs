//! Bytes that were read and not taken. They belong to the file, not to the verb that read them.

/// How much is read at once where a verb does not know how much it will need.
pub(super) const CHUNK: usize = 16 * 1024;

/// Bytes read ahead.
#[derive(Default)]
pub(super) struct Ahead {
    bytes: Vec<u8>,
    /// How many of them were taken already.
    taken: usize,
}

impl Ahead {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies out as many bytes as fit into `buffer`, and forgets them.
    pub(super) fn take_into(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.bytes()[..count]);
        self.consume(count);
        count
    }

    /// Takes the first `count` bytes, without a copy where these are all.
    pub(super) fn take(&mut self, count: usize) -> Vec<u8> {
        if self.taken == 0 && count == self.bytes.len() {
            return std::mem::take(&mut self.bytes);
        }
        let taken = self.bytes()[..count].to_vec();
        self.consume(count);
        taken
    }

    /// Takes all bytes.
    pub(super) fn take_all(&mut self) -> Vec<u8> {
        self.take(self.len())
    }

    /// Forgets the first `count` bytes; an empty buffer has no memory.
    pub(super) fn consume(&mut self, count: usize) {
        self.taken += count;
        assert!(self.taken <= self.bytes.len(), "there are as many bytes");
        if self.is_empty() {
            *self = Ahead::default();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Ahead::default();
    }

    pub(super) fn extend(&mut self, more: &[u8]) {
        self.make_room();
        self.bytes.extend_from_slice(more);
    }

    /// Takes bytes of another owner.
    pub(super) fn append(&mut self, more: Vec<u8>) {
        self.make_room();
        if self.bytes.is_empty() { self.bytes = more } else { self.bytes.extend_from_slice(&more) }
    }

    /// Gives what was taken up, if that is as much as what is left: each byte is moved a bounded
    /// number of times, and a buffer that is never empty does not grow for ever.
    fn make_room(&mut self) {
        if self.taken > 0 && self.taken >= self.bytes.len() / 2 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }

    /// Calls `read` with the buffer, to append at most `room` bytes to it. What was taken makes
    /// room first, and the buffer grows with what has come.
    pub(super) fn fill<R>(&mut self, room: usize, read: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.make_room();
        self.bytes.reserve(room);
        let result = read(&mut self.bytes);
        if self.is_empty() {
            *self = Ahead::default();
        }
        result
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_however_they_are_taken() {
        let mut ahead = Ahead::default();
        ahead.extend(b"abcdef");
        let mut two = [0; 2];
        assert_eq!((ahead.take_into(&mut two), &two), (2, b"ab"));
        ahead.fill(3, |bytes| bytes.extend_from_slice(b"ghi"));
        assert_eq!(ahead.take(3), b"cde");
        ahead.append(b"jk".to_vec());
        assert_eq!((ahead.len(), ahead.bytes()), (6, &b"fghijk"[..]));
        assert_eq!(ahead.take_all(), b"fghijk");
        assert!(ahead.is_empty() && ahead.bytes.capacity() == 0);
        // Something is left at all times.
        for _ in 0..1000 {
            ahead.extend(&[0; 128]);
            ahead.append(vec![0; 128]);
            ahead.consume(255);
            ahead.consume(ahead.len() - 1);
            assert!(ahead.bytes.capacity() < 4096);
        }
        ahead.clear();
        ahead.fill(10, |_| ());
        assert_eq!(ahead.bytes.capacity(), 0, "a read in vain leaves no memory");
    }
}
