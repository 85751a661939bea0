//! Messages over any runtime's stream, batched by hand: everything received is parsed, and all
//! answers are sent in one write. This is the best possible on a runtime without messages of its
//! own.

use std::io;

use crate::runtime::{HEADER, Net};

/// Answers messages until the end of the stream.
pub(crate) async fn messages<R: Net>(
    mut stream: R::Stream,
    length: usize,
    answered: impl Fn(usize),
) -> io::Result<()> {
    let mut input = vec![0; length];
    let mut unanswered = Vec::new();
    let mut answers = Vec::new();
    loop {
        let received;
        (received, input) = R::recv(&mut stream, input).await;
        let received = received?;
        if received == 0 {
            return Ok(());
        }
        answers.clear();
        if unanswered.is_empty() {
            let parsed = gather(&input[..received], &mut answers);
            unanswered.extend_from_slice(&input[parsed..received]);
        } else {
            unanswered.extend_from_slice(&input[..received]);
            let parsed = gather(&unanswered, &mut answers);
            unanswered.drain(..parsed);
        }
        if !answers.is_empty() {
            let length = answers.len();
            let sent;
            (sent, answers) = R::send_all(&mut stream, answers, length).await;
            sent?;
            answered(length);
        }
    }
}

/// Appends the complete messages at the front of `input` to the answers; returns their bytes.
pub(crate) fn gather(input: &[u8], answers: &mut Vec<u8>) -> usize {
    let mut rest = input;
    while let Some((header, after)) = rest.split_first_chunk::<HEADER>() {
        let Some(payload) = after.get(..u32::from_be_bytes(*header) as usize) else { break };
        answers.extend_from_slice(header);
        answers.extend_from_slice(payload);
        rest = &after[payload.len()..];
    }
    input.len() - rest.len()
}
