//! A small third architecture, the example of docs/adding-a-model.md: an encoder of sequences, which computes
//! logits for each token. A token begins as the sum of its embedding and its position. Layers like a ViT's, a
//! norm and a linear classifier follow (Devlin et al., arXiv 1810.04805, with the norms in front).

mod file;
mod proof;

use half::f16;

use crate::arena::{carve, part, Phases, Plan, Slot};
use crate::blocks::{
    mlp_tile, next_in_layer, AttentionShape, AttentionStage, AttentionState, LayerPrecision, LayerSection,
    LayerSlots, Layers, MlpRows, MlpSlots, PlaneSlots, Planes,
};
use crate::error::{Error, Fault};
use crate::format::{Cursor, Model, SectionKind, Values, Words};
use crate::kernels::{Activation, Epilogue};
use crate::math::add_f16s;
use crate::ops::{apply, quantize_rows};
use crate::profile::{Progress, Stage};
use crate::run::{Machine, Position, RunOptions, Workspace};
use crate::source::SourceError;
use crate::tensor::{rows_mut, Linear, NormWeights, Precision};

const ARCHITECTURE: u32 = 1000;

/// The hyperparameters.
#[derive(Clone, Copy, Debug)]
struct Config {
    vocabulary: usize,
    tokens: usize,
    dim: usize,
    depth: usize,
    heads: usize,
    hidden: usize,
    classes: usize,
    precision: LayerPrecision,
}

impl Config {
    fn parse(section: (u32, &[u8])) -> Result<Self, Error> {
        let words = Words::new(section, 4 * 8)?;
        let config = Self {
            vocabulary: words.size("vocabulary", 0, 1, 65_535),
            tokens: words.size("tokens", 1, 1, 1024),
            dim: words.size("dim", 2, 1, 1024),
            depth: words.size("depth", 3, 1, 64),
            heads: words.size("heads", 4, 1, 64),
            hidden: words.size("hidden", 5, 1, 4096),
            classes: words.size("classes", 6, 1, 1024),
            precision: LayerPrecision::from_word(words.word(7)),
        };
        words.check(config.dim.is_multiple_of(config.heads), "heads", 4);
        words.check(words.word(7) < 16, "precision", 7);
        words.done()?;
        words.expect_length(4 * 8)?;
        Ok(config)
    }
}

/// The model in its checked file. Its sections are configuration, embedding, layers and head.
struct Encoder<'a> {
    model: Model<'a>,
    config: Config,
}

const NORM_EPS: f32 = 1e-6;

impl<'a> Encoder<'a> {
    fn new(model: &Model<'a>) -> Result<Self, Error> {
        let found = model.architecture();
        if found != ARCHITECTURE {
            return Err(Error::Architecture { found, expected: ARCHITECTURE });
        }
        let config = Config::parse(model.expect_section(0, SectionKind::Config)?)?;
        let encoder = Self { model: *model, config };
        model.expect_end(config.depth + 3)?;
        encoder.embed(Values::New)?;
        for layer in 0..config.depth {
            encoder.block(layer, Values::New)?.check()?;
        }
        encoder.head(Values::New)?;
        Ok(encoder)
    }

    /// Embeddings `(vocabulary, dim)` and positions `(tokens, dim)`.
    fn embed(&self, values: Values) -> Result<[&'a [f16]; 2], Error> {
        let c = &self.config;
        let mut cursor = Cursor::new(&self.model, 1, SectionKind::Embed, values)?;
        let table = cursor.f16s("embedding", c.vocabulary * c.dim);
        let positions = cursor.f16s("positions", c.tokens * c.dim);
        cursor.finish([table, positions])
    }

    fn block(&self, layer: usize, values: Values) -> Result<LayerSection<'a>, Error> {
        let Config { dim, heads, hidden, precision, .. } = self.config;
        Ok(LayerSection {
            cursor: Cursor::new(&self.model, 2 + layer, SectionKind::Block, values)?,
            dim,
            heads,
            hidden,
            activation: Activation::GeluTanh,
            norm_eps: NORM_EPS,
            precision,
            has_cross: false,
        })
    }

    /// The final norm, and the classifier `(classes, dim)`.
    fn head(&self, values: Values) -> Result<(NormWeights<'a>, Linear<'a>), Error> {
        let c = &self.config;
        let mut cursor = Cursor::new(&self.model, 2 + c.depth, SectionKind::Head, values)?;
        let norm = cursor.norm("norm", c.dim, NORM_EPS);
        let classifier = cursor.linear("head", c.dim, c.classes, Precision::Int8);
        cursor.finish((norm, classifier))
    }

    /// Phases are 0 for a norm, 1 for an attention and 2 for an MLP. Embedding and head use the MLP's memory.
    fn plan(&self, m: &Machine) -> (Plan, Slots) {
        let (norm, attention, all) = (Phases::only(0), Phases::only(1), Phases::through(0, 2));
        let Config { tokens, dim, heads, hidden, classes, precision, .. } = self.config;
        let is_f16 = precision.qkv == Precision::F16;
        let shape = AttentionShape { tokens, dim, heads, is_widened: is_f16, is_requantized: false };
        let mut plan = Plan::new(m.table.region_align);
        let stream = plan.slot("tokens", tokens, dim, all);
        let logits = plan.slot("logits", tokens, classes, all);
        let names = ["normed plane", "plane scales"];
        let plane = PlaneSlots::plan(&mut plan, names, (tokens, dim), is_f16, Phases::through(0, 1));
        let layer = LayerSlots::plan(&mut plan, m, stream, &shape, [norm, attention]);
        let mlp = MlpSlots::plan(&mut plan, m, dim, hidden, Phases::only(2));
        (plan, Slots { layer, logits, plane, mlp })
    }

    fn begin<'r>(&'r self, arena: &'r mut [u8], options: RunOptions<'r>) -> Result<Run<'r, 'a>, Error> {
        let machine = Machine::new(options.tile_rows, options.kernels.spec, options.pool.workers())?;
        let (plan, slots) = self.plan(&machine);
        Ok(Run {
            encoder: self,
            workspace: Workspace::new(options, self.model.layout(), plan.check(arena)?)?,
            slots,
            attention: AttentionState::new(machine.heads_at_work(self.config.heads)),
            position: Position::At(Stage::Embed, 0),
        })
    }
}

impl<'a> Layers<'a> for Encoder<'a> {
    fn heads(&self) -> usize {
        self.config.heads
    }

    fn layer(&self, layer: usize) -> Result<LayerSection<'a>, Error> {
        self.block(layer, Values::Checked)
    }
}

struct Slots {
    layer: LayerSlots,
    /// The output: `(tokens, classes)`.
    logits: Slot<f32>,
    plane: PlaneSlots,
    mlp: MlpSlots,
}

/// A run of the model on one sequence.
struct Run<'r, 'm> {
    encoder: &'r Encoder<'m>,
    workspace: Workspace<'r>,
    slots: Slots,
    attention: AttentionState<'m>,
    position: Position,
}

impl Run<'_, '_> {
    /// Does one tile. `ids` are the numbers of the tokens' embeddings: `(tokens)`.
    fn step(&mut self, ids: &[u16]) -> Result<Progress, Error> {
        let (stage, row) = self.position.take()?;
        let next = self.tile(stage, row, ids)?;
        let (c, at_work) = (&self.encoder.config, self.attention.at_work);
        Ok(self.position.advance(stage, next, c.tokens, || match stage {
            Stage::Embed => Some(Stage::Norm { layer: 0 }),
            Stage::Mlp { layer } if usize::from(layer) + 1 < c.depth => {
                Some(Stage::Norm { layer: layer + 1 })
            }
            Stage::Mlp { .. } => Some(Stage::Head),
            _ => next_in_layer(stage, c.heads, at_work, None),
        }))
    }

    fn tile(&mut self, stage: Stage, row: usize, ids: &[u16]) -> Result<usize, Error> {
        let (encoder, w, s) = (self.encoder, &mut self.workspace, &self.slots);
        Ok(match stage {
            Stage::Embed => embed_tile(w, encoder.embed(Values::Checked)?, s, ids, row)?,
            Stage::Mlp { layer } => {
                mlp_tile(w, &encoder.layer(layer.into())?.mlp()?, s.layer.tokens, &s.mlp, row)?
            }
            Stage::Head => head_tile(w, encoder.head(Values::Checked)?, s, row)?,
            stage => {
                let plane = s.plane.of(encoder.config.precision.qkv);
                let planes = Planes { plane, ..Planes::NONE };
                self.attention.tile(w, encoder, (&s.layer, &planes), AttentionStage::of(stage)?, row)?
            }
        })
    }

    /// The output: `(tokens, classes)`.
    fn logits(&self) -> Result<&[f32], Error> {
        self.position.expect_done()?;
        Ok(self.slots.logits.read(self.workspace.arena)?)
    }
}

/// `tokens[t] = f16(table[ids[t]] + positions[t])`, from `row` on.
fn embed_tile(
    w: &mut Workspace,
    [table, positions]: [&[f16]; 2],
    slots: &Slots,
    ids: &[u16],
    row: usize,
) -> Result<usize, Error> {
    let (count, dim) = (w.rows(row, slots.layer.tokens.rows()), slots.layer.tokens.width());
    carve!(w.arena => tokens: slots.layer.tokens, memory: slots.mlp);
    let sums = memory.rows.tile(0, count)?.data;
    let unknown = |code| Error::Source(SourceError { code });
    let ids = part(ids, row, count).map_err(|_| unknown(u32::MAX))?;
    for (id, sum) in ids.iter().zip(rows_mut(sums, dim)) {
        let embedding = part(table, usize::from(*id) * dim, dim).map_err(|_| unknown((*id).into()))?;
        (w.kernels.widen)(embedding, sum);
    }
    add_f16s(sums, part(positions, row * dim, count * dim)?);
    (w.kernels.narrow)(sums, tokens.tile(row, count)?.data);
    Ok(row + count)
}

/// `logits[t] = W·LayerNorm(tokens[t]) + b`, from `row` on. It runs on one core, since it is little work.
fn head_tile(
    w: &mut Workspace,
    (norm, classifier): (NormWeights, Linear),
    slots: &Slots,
    row: usize,
) -> Result<usize, Fault> {
    let count = w.rows(row, slots.logits.rows());
    carve!(w.arena => tokens: slots.layer.tokens, logits: slots.logits, memory: slots.mlp);
    let (tokens, logits) = (tokens.tile(row, count)?.data, logits.tile(row, count)?.data);
    let MlpRows { rows, codes, scales, scratch, .. } = memory.tile(count)?;
    (w.kernels.layer_norm)(tokens, &norm, rows.data);
    let x = quantize_rows(w.kernels, rows.data, rows.width, &classifier, codes.data, scales.data);
    apply(w.kernels, &x, &classifier, Epilogue::None, logits, scratch.data)?;
    Ok(row + count)
}
