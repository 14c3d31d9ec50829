//! What other trainers leave behind, in words.

/// Something that is not an adapter of the forms that are read here. `Display` says what it is, and the way from there to
/// something that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignAdapter {
    /// Apple's mlx-lm: `adapters.safetensors` (before: `.npz`), and a configuration that shares its name with PEFT's.
    #[error(
        "it is an adapter of mlx-lm, whose form is not read: fuse it into its model (mlx_lm.fuse), convert that to \
         GGUF (nightgraft import), and use it as the model"
    )]
    MlxLm,
    /// torchtune's recipes.
    #[error(
        "it is an adapter in torchtune's own form, which is not read: its Hugging Face checkpointer writes \
         adapter_config.json and adapter_model.safetensors as well; use those"
    )]
    Torchtune,
    /// LitGPT.
    #[error(
        "it is an adapter of LitGPT, whose form is not read: merge it (litgpt merge_lora), convert that to Hugging \
         Face's form (litgpt convert_from_litgpt) and then to GGUF, and use it as the model"
    )]
    LitGpt,
    /// AdapterHub's library.
    #[error(
        "it is an adapter of AdapterHub's library, whose form is not read: merge it into its model, convert that to \
         GGUF, and use it as the model"
    )]
    AdapterHub,
    /// NVIDIA's NeMo.
    #[error(
        "it is an adapter of NeMo, whose form is not read: export it to Hugging Face's form with NeMo, or merge it, \
         convert that to GGUF, and use it as the model"
    )]
    Nemo,
    /// kohya's scripts and LyCORIS, for image models.
    #[error(
        "it is an adapter of kohya's scripts or LyCORIS, which are for image models; adapters of language models come \
         as PEFT folders or llama.cpp's GGUF files"
    )]
    Kohya,
    /// Diffusers, for image models.
    #[error(
        "it is an adapter of Diffusers, which are for image models; adapters of language models come as PEFT folders \
         or llama.cpp's GGUF files"
    )]
    Diffusers,
    /// llama.cpp's adapters from before GGUF.
    #[error(
        "it is an adapter in llama.cpp's form from before GGUF, which is not read: convert the original PEFT folder \
         again (llama.cpp's convert_lora_to_gguf.py), or use that folder"
    )]
    Ggla,
    /// PEFT's tensors without their configuration, or under another name.
    #[error(
        "it has the tensors of a PEFT adapter, but not their configuration: name it adapter_model.safetensors, put \
         its adapter_config.json beside it, and give the folder"
    )]
    BarePeft,
    /// PEFT's tensors as a pickle.
    #[error(
        "it is a PEFT adapter in PyTorch's pickled form, which is not read because it can run programs: load it with \
         PEFT and save it again (save_pretrained writes adapter_model.safetensors)"
    )]
    PickledPeft,
    /// Any other pickle or archive of PyTorch.
    #[error(
        "it is a pickle of PyTorch, which is not read because it can run programs: save the adapter with its trainer \
         as a PEFT folder with safetensors"
    )]
    Pickle,
    /// All weights of a model.
    #[error(
        "it holds a whole model, no adapter: convert it to GGUF (nightgraft import), and use it as \
         the model"
    )]
    WholeModel,
}
