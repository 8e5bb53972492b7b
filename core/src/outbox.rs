//! Frames waiting for the transport, replies waiting for their turn, and the count of their bytes.

use crate::{Frame, SubId, Text, audit::Note, request::RequestId};
use alloc::{boxed::Box, collections::VecDeque};

/// Frames in wire order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    frames: VecDeque<Frame>,
    /// Wire bytes of `frames`.
    bytes: usize,
    /// Wire bytes that the transport still holds.
    transport_bytes: usize,
    /// Wire bytes queued since the beginning.
    total_bytes: u64,
}

impl Outbox {
    pub(crate) fn push(&mut self, frame: Frame) {
        let len = frame.wire_len();
        self.bytes += len;
        self.total_bytes += len as u64;
        self.frames.push_back(frame);
    }

    pub(crate) fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        let len = frame.wire_len();
        self.bytes -= len;
        self.transport_bytes = self.transport_bytes.saturating_add(len);
        Some(frame)
    }

    /// Gives back the room of the queue, if it is empty.
    pub(crate) fn release_spare(&mut self) {
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
    }

    /// Drops what has not been handed out.
    pub(crate) fn clear(&mut self) {
        self.total_bytes -= self.bytes as u64;
        self.bytes = 0;
        self.frames.clear();
    }

    /// Notes what the transport still holds; true if it has taken some.
    pub(crate) fn set_transport_bytes(&mut self, bytes: usize) -> bool {
        let progress = bytes < self.transport_bytes;
        self.transport_bytes = bytes;
        progress
    }

    /// Wire bytes not yet taken by the network. The transport's share is what the caller says, so nothing is assumed
    /// of it.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.bytes.saturating_add(self.transport_bytes)
    }

    pub(crate) fn total_bytes(&self) -> u64 {
        self.total_bytes
    }

    /// Wire bytes that have left since the beginning.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.total_bytes.saturating_sub(self.queued_bytes() as u64)
    }
}

/// A reply's place in the order.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: RequestId,
    text: Option<Text>,
    /// Subscription that becomes known to the peer with this reply.
    announces: Option<SubId>,
    /// What the audit log wants to know, until the outcome is known.
    note: Option<Box<Note>>,
}

/// Replies that wait for an earlier one, or for their effect.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    slots: VecDeque<Slot>,
    /// Number of the first slot.
    first: u64,
    bytes: usize,
}

impl Replies {
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of replies that wait for an earlier one.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Opens the next place and gives its number.
    pub(crate) fn open(&mut self, id: RequestId, note: Option<Box<Note>>) -> u64 {
        self.slots.push_back(Slot { id, text: None, announces: None, note });
        self.first + self.slots.len() as u64 - 1
    }

    pub(crate) fn id(&self, number: u64) -> Option<&RequestId> {
        self.slots.get(self.index(number)?).map(|slot| &slot.id)
    }

    pub(crate) fn fill(&mut self, number: u64, text: Text, announces: Option<SubId>) {
        let Some(slot) = self.index(number).and_then(|index| self.slots.get_mut(index)) else { return };
        self.bytes += text.len();
        slot.text = Some(text);
        slot.announces = announces;
    }

    pub(crate) fn take_note(&mut self, number: u64) -> Option<Box<Note>> {
        self.slots.get_mut(self.index(number)?)?.note.take()
    }

    /// Takes the notes of all places.
    pub(crate) fn take_notes(&mut self) -> impl Iterator<Item = Box<Note>> {
        self.slots.iter_mut().filter_map(|slot| slot.note.take())
    }

    /// Takes the first reply if it is complete.
    pub(crate) fn pop_ready(&mut self) -> Option<(Text, Option<SubId>)> {
        self.slots.front()?.text.as_ref()?;
        let slot = self.slots.pop_front()?;
        self.first += 1;
        let text = slot.text?;
        self.bytes -= text.len();
        Some((text, slot.announces))
    }

    /// Gives back the room of the list, if it is empty.
    pub(crate) fn release_spare(&mut self) {
        if self.slots.is_empty() {
            self.slots = VecDeque::new();
        }
    }

    /// Drops all places; tokens of dropped places are ignored from now on.
    pub(crate) fn clear(&mut self) {
        self.first += self.slots.len() as u64;
        self.slots.clear();
        self.bytes = 0;
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.first)?).ok()
    }
}
