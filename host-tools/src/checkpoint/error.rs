use std::path::PathBuf;

/// Why a float checkpoint cannot be imported. Each message names the file, what was found and the way out.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// A file cannot be written.
    #[error(transparent)]
    Output(#[from] crate::output::OutputError),
    /// A file cannot be read or written.
    #[error("{path}: {error}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// A folder in which the weights are missing, or are not the only ones.
    #[error("{path}: {hint}")]
    NoModelFile {
        /// The folder.
        path: PathBuf,
        /// What is there instead, and what to do about it.
        hint: String,
    },
    /// The file is something else.
    #[error("{path}: {what}, not a file of weights that can be read; {way_out}")]
    NotWeights {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
        /// What to do.
        way_out: String,
    },
    /// The file ends before what it promises.
    #[error("{path}: the file is incomplete ({what}): its download or copy broke off; fetch it again")]
    Truncated {
        /// The file.
        path: PathBuf,
        /// How much is missing.
        what: String,
    },
    /// The file is in the safetensors format, but damaged.
    #[error(
        "{path}: not a readable safetensors file ({reason}); fetch it again, or write it again with \
         Python's `safetensors.torch.save_file(tensors, \"model.safetensors\")`"
    )]
    NotSafetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is by `torch.save`, but damaged or of unknown content.
    #[error(
        "{path}: not a readable PyTorch file of weights ({reason}); write one in Python with \
         `torch.save(model.state_dict(), \"model.pt\")`, or with `safetensors.torch.save_file`"
    )]
    NotTorch {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// One part of a model in several files.
    #[error(
        "{path}: is one of {count} shards, which alone is no model; pass the folder that holds all of them \
         and their index, or the index (.index.json)"
    )]
    OneShard {
        /// The file.
        path: PathBuf,
        /// How many shards there are.
        count: usize,
    },
    /// The shards of a model are not what their index says.
    #[error(
        "{path}: the shards do not fit together: {what}; fetch all files of the model again, of one version"
    )]
    Shards {
        /// The index, or the shard.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// Several sets of weights, none of which is plainly the model.
    #[error(
        "{path}: holds several sets of weights: {sets}; pass --weights with the key of the one that is meant"
    )]
    SeveralWeights {
        /// The file.
        path: PathBuf,
        /// Their keys and numbers of tensors.
        sets: String,
    },
    /// No set of weights is called so.
    #[error("{path}: holds no weights under `{wanted}`; it holds {sets}")]
    NoSuchWeights {
        /// The file.
        path: PathBuf,
        /// The key asked for.
        wanted: String,
        /// The keys and numbers of tensors that are there.
        sets: String,
    },
    /// A tensor that is not of a float type.
    #[error("{path}: tensor `{tensor}` holds {found}, expected floats (F32, F16, BF16 or F64); {way_out}")]
    ElementType {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// What its elements are.
        found: String,
        /// What to do.
        way_out: String,
    },
    /// The tensor names are of no known family.
    #[error(
        "{path}: unknown architecture{family}: it has {seen}; recognised are ViT and DeiT \
         with the names of timm (`patch_embed.proj.weight`, `blocks.0.attn.qkv.weight`), Hugging Face \
         transformers (`embeddings.patch_embeddings.projection.weight`) and torchvision \
         (`conv_proj.weight`), and IPT with its authors' (`body.linear_encoding.weight`)"
    )]
    UnknownArchitecture {
        /// The file.
        path: PathBuf,
        /// What it seems to be, in parentheses; may be empty.
        family: String,
        /// What it has: some of the names found.
        seen: String,
    },
    /// A tensor that the architecture needs is not there.
    #[error("{path}: tensor `{tensor}` is missing{}; {hint}", with_shape(expected))]
    MissingTensor {
        /// The file.
        path: PathBuf,
        /// The name that the file's naming scheme gives to it.
        tensor: String,
        /// Its shape; empty where it is not known.
        expected: Vec<usize>,
        /// What may have gone wrong.
        hint: String,
    },
    /// A tensor has another shape than the rest of the model asks for.
    #[error("{path}: tensor `{tensor}` has shape {found:?}, expected {expected}; {hint}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// The shape expected, in words or numbers.
        expected: String,
        /// The shape found.
        found: Vec<usize>,
        /// Where the expectation comes from.
        hint: String,
    },
    /// A weight is NaN or infinite.
    #[error(
        "{path}: tensor `{tensor}` holds {value} at element {index}; the training diverged, the file is \
         damaged, or it holds doubles beyond the range of f32: export it again from a good checkpoint"
    )]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// Index into the flat data.
        index: usize,
        /// The value.
        value: f32,
    },
    /// Tensors that belong to the model but that the engine has no operation for.
    #[error(
        "{path}: {count} tensors are not part of a {architecture}: {names}; leaving them out would change \
         what the model computes. If they are unused, pass --allow-extra-tensors"
    )]
    UnknownTensors {
        /// The file.
        path: PathBuf,
        /// What the model is, in words.
        architecture: &'static str,
        /// How many there are.
        count: usize,
        /// The first of their names.
        names: String,
    },
    /// Two tensors of the file that stand for one of the model's.
    #[error(
        "{path}: tensors `{first}` and `{second}` are both the model's `{canonical}`; keep one of them, or \
         choose a set of weights with --weights"
    )]
    Collision {
        /// The file.
        path: PathBuf,
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// What both stand for.
        canonical: String,
    },
    /// A classifier of more than one linear layer.
    #[error(
        "{path}: the classifier is more than one linear layer: {tensors}; train one `torch.nn.Linear` \
         (behind a dropout, if you like), or pass --head none to convert the model without classifier, \
         which gives features"
    )]
    HeadLayers {
        /// The file.
        path: PathBuf,
        /// Its tensors with their shapes.
        tensors: String,
    },
    /// A network with a feature that the engine does not have.
    #[error("{path}: the model has {feature}, as tensor `{tensor}` shows, which Vitreous does not support")]
    Feature {
        /// The file.
        path: PathBuf,
        /// The feature, in words.
        feature: String,
        /// A tensor that shows it.
        tensor: String,
    },
    /// Something is assumed where nothing may be.
    #[error("{path}: nothing says {assumed}, and --strict assumes nothing; pass {options}")]
    Assumed {
        /// The file.
        path: PathBuf,
        /// The values that would be assumed.
        assumed: String,
        /// The options that say them.
        options: String,
    },
    /// A text file of labels that cannot be read.
    #[error("{path}: {reason}")]
    LabelText {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The number of attention heads is neither given nor usual for this width.
    #[error(
        "{path}: the number of attention heads cannot be read from the weights (dim {dim}) and no \
         config.json says it; pass --heads"
    )]
    HeadsUnknown {
        /// The file.
        path: PathBuf,
        /// Token width.
        dim: usize,
    },
    /// The model asks for something outside of what the engine does.
    #[error("{path}: {what}; {way_out}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it asks for.
        what: String,
        /// What to do.
        way_out: String,
    },
    /// Hyperparameters that contradict each other or the shapes.
    #[error("{path}: {what}; {way_out}")]
    Config {
        /// The file.
        path: PathBuf,
        /// The contradiction.
        what: String,
        /// What to do.
        way_out: String,
    },
    /// A JSON file that cannot be parsed, or a field of another type than expected.
    #[error("{path}: {reason}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and what.
        reason: String,
    },
    /// The number of labels is not the number of classes.
    #[error(
        "{path}: {found} labels for {expected} classes; write one label per line, line number = class \
         index, and name the file with --labels"
    )]
    Labels {
        /// Where the labels come from.
        path: PathBuf,
        /// Labels found.
        found: usize,
        /// Classes of the model.
        expected: usize,
    },
}

fn with_shape(shape: &[usize]) -> String {
    match shape {
        [] => String::new(),
        shape => format!(", expected with shape {shape:?}"),
    }
}

impl CheckpointError {
    pub(super) fn io(path: &std::path::Path, error: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), error }
    }
}
