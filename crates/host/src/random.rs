//! Random numbers for the engines: of the operating system, or of a seed.

/// Random numbers of the operating system, fetched in blocks: ids are drawn under the store's lock.
pub(crate) struct SystemRandom {
    block: [u8; 4096],
    used: usize,
}

impl SystemRandom {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut block = [0; 4096];
        getrandom::fill(&mut block)?;
        Ok(Self { block, used: 0 })
    }
}

impl noex_store::Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.draw(bytes);
    }
}

impl noex_rules::Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.draw(bytes);
    }
}

impl SystemRandom {
    fn draw(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == self.block.len() {
                // The source worked at start. Should it ever fail, ids would repeat; inserts are then refused as
                // duplicates, nothing is overwritten.
                if let Err(error) = getrandom::fill(&mut self.block) {
                    tracing::error!("no random numbers: {error}");
                }
                self.used = 0;
            }
            *byte = std::mem::take(self.block.get_mut(self.used).unwrap_or(&mut 0));
            self.used += 1;
        }
    }
}

/// Random numbers that a seed determines (SplitMix64): for simulations, never for a server that others can reach.
pub(crate) struct SeededRandom(pub(crate) u64);

impl SeededRandom {
    pub(crate) fn draw(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            for (to, from) in chunk.iter_mut().zip((z ^ (z >> 31)).to_le_bytes()) {
                *to = from;
            }
        }
    }
}

impl noex_store::Random for SeededRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.draw(bytes);
    }
}

impl noex_rules::Random for SeededRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.draw(bytes);
    }
}
