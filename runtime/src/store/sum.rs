//! A checksum over the fields of a row, so that a damaged row is noticed and not believed.

/// Bytes of a sum: enough against accidents, which is what it is for.
pub const SUM_BYTES: usize = 8;

/// Hashes fields one after the other, each with its length.
#[derive(Debug)]
pub struct Sum(blake3::Hasher);

impl Sum {
    /// The sum of a row of `table`.
    pub fn of(table: &str) -> Self {
        Self(blake3::Hasher::new()).bytes(table.as_bytes())
    }

    /// Adds a field of bytes.
    pub fn bytes(mut self, field: &[u8]) -> Self {
        self.0.update(&(field.len() as u64).to_be_bytes());
        self.0.update(field);
        self
    }

    /// Adds a field that is a number.
    pub fn number(self, field: i64) -> Self {
        self.bytes(&field.to_be_bytes())
    }

    /// The sum of all fields that were added.
    pub fn end(self) -> [u8; SUM_BYTES] {
        let mut sum = [0; SUM_BYTES];
        sum.copy_from_slice(&self.0.finalize().as_bytes()[..SUM_BYTES]);
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_do_not_run_into_each_other() {
        let one = Sum::of("t").bytes(b"ab").bytes(b"c").number(1).end();
        assert_eq!(one, Sum::of("t").bytes(b"ab").bytes(b"c").number(1).end());
        assert_ne!(one, Sum::of("t").bytes(b"a").bytes(b"bc").number(1).end());
        assert_ne!(one, Sum::of("t").bytes(b"ab").bytes(b"c").number(2).end());
        assert_ne!(one, Sum::of("u").bytes(b"ab").bytes(b"c").number(1).end());
    }
}
