//! A transport that takes as many bytes as the test allows.

use noex_core::Frame;
use std::collections::VecDeque;

/// Frames on their way to the client.
#[derive(Debug, Default)]
pub(crate) struct Transport {
    /// Frames that have not left entirely, each with the bytes that are left of it.
    frames: VecDeque<(Frame, usize)>,
    held: usize,
    /// Bytes that the network takes from now on; `None` = all.
    pub(crate) room: Option<usize>,
}

impl Transport {
    pub(crate) fn queue(&mut self, frame: Frame) {
        let len = frame.wire_len();
        self.held += len;
        self.frames.push_back((frame, len));
    }

    /// Moves what the network takes; gives the frames that have arrived.
    pub(crate) fn flush(&mut self) -> Vec<Frame> {
        let mut arrived = Vec::new();
        while let Some((_, left)) = self.frames.front_mut() {
            let taken = self.room.map_or(*left, |room| room.min(*left));
            *left -= taken;
            self.held -= taken;
            if let Some(room) = &mut self.room {
                *room -= taken;
            }
            if *left > 0 {
                break;
            }
            arrived.extend(self.frames.pop_front().map(|(frame, _)| frame));
        }
        arrived
    }

    /// Bytes not yet taken.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// The connection broke: what is held is lost.
    pub(crate) fn lose_all(&mut self) {
        self.frames.clear();
        self.held = 0;
    }
}
