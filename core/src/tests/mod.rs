//! Tests of what several rooms of the engine do together.

mod sequence_encoder;
