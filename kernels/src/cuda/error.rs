//! Why there is no GPU, or what it refused.

use thiserror::Error;

/// A GPU that is not there, or not able.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CudaError {
    /// No libcuda.
    #[error(
        "no NVIDIA driver was found (libcuda.so): run this on a machine with an NVIDIA GPU and its driver"
    )]
    NoDriver,
    /// A driver, but no device it can use.
    #[error("the NVIDIA driver found no GPU to use: {0}")]
    NoDevice(String),
    /// No NVRTC.
    #[error(
        "the CUDA compiler library was not found (libnvrtc.so): install nvidia-cuda-nvrtc and put its folder into \
         LD_LIBRARY_PATH, or give the folder of `ditplan cuda ptx` by --ptx"
    )]
    NoCompiler,
    /// NVRTC refused a source.
    #[error("{file} does not compile for {arch}: {log}")]
    Compile {
        /// Source and variant.
        file: String,
        /// Architecture.
        arch: String,
        /// What the compiler says.
        log: String,
    },
    /// A PTX file that cannot be read.
    #[error("{path} cannot be read: {reason}")]
    Ptx {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// A call that the driver refused.
    #[error("the GPU refused to {what}: {reason}")]
    Refused {
        /// What was asked.
        what: String,
        /// The driver's words.
        reason: String,
    },
}
