//! Tests of several modules of the engine together.

mod sequence_encoder;
