//! The GPU found: memory, compiled sources, launches, times. The only `unsafe` of the crate.
//!
//! Guarantees: nothing here panics where there is no driver; a launch whose buffers are too small is an
//! assertion, not a write beyond them.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic;
use std::path::PathBuf;
use std::sync::Arc;

use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::sys::CUevent_flags;
use cudarc::driver::{
    CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DevicePtr, LaunchConfig,
    PushKernelArg,
};
use cudarc::nvrtc::{self, CompileOptions, Ptx};

use super::error::CudaError;
use super::geometry::Launch;
use super::source::{Source, Variant};
use crate::wire::Shape;

/// Compiled sources, by file and variant.
type Modules = BTreeMap<(Source, Variant), Arc<CudaModule>>;

/// A GPU.
#[derive(Debug)]
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    modules: RefCell<Modules>,
    /// A folder of PTX files that stand for the compiler.
    ptx: Option<PathBuf>,
    /// Name as the driver gives it.
    pub name: String,
    /// `sm_90` and the like.
    pub arch: String,
    /// Streaming multiprocessors.
    pub multiprocessors: usize,
    /// Second-level cache, bytes.
    pub l2_bytes: usize,
}

/// Bytes on the GPU.
#[derive(Debug)]
pub struct Buffer(CudaSlice<u8>);

impl Buffer {
    /// Bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// A kernel of one variant.
#[derive(Clone, Debug)]
pub struct Kernel(CudaFunction);

/// What a launch reads and writes.
#[derive(Clone, Copy, Debug)]
pub struct Operands<'a> {
    /// Rows and channels.
    pub shape: Shape,
    /// Activations, 2 N C bytes; a decode has none.
    pub x: Option<&'a Buffer>,
    /// The base, changed in place, and the bytes it must have.
    pub base: Option<(&'a Buffer, usize)>,
    /// Where the reconstruction goes, 2 N C bytes.
    pub out: Option<&'a Buffer>,
    /// The message, from `message_offset` bytes on; and the bytes it must have from there.
    pub message: Option<(&'a Buffer, usize)>,
    /// Where the message starts in its buffer.
    pub message_offset: usize,
    /// Scratch memory, and the bytes it must have.
    pub work: (&'a Buffer, usize),
}

impl Operands<'_> {
    /// Panics unless every buffer is as large as the kernels assume.
    fn check(&self) {
        let activations = 2 * self.shape.elements();
        let enough = |buffer: Option<&Buffer>, bytes| buffer.is_none_or(|it| it.bytes() >= bytes);
        assert!(enough(self.x, activations), "x has 2 N C bytes");
        assert!(enough(self.out, activations), "out has 2 N C bytes");
        for (buffer, bytes) in [self.base, Some(self.work)].into_iter().flatten() {
            assert!(
                buffer.bytes() >= bytes,
                "base and work have the bytes of their formats"
            );
        }
        if let Some((buffer, bytes)) = self.message {
            let end = self.message_offset + bytes;
            assert!(buffer.bytes() >= end, "a message fits its buffer");
        }
    }
}

fn refused<E: std::fmt::Debug>(what: &str) -> impl FnOnce(E) -> CudaError {
    let what = what.to_owned();
    move |error| CudaError::Refused {
        what,
        reason: format!("{error:?}"),
    }
}

/// The result, or the words of a panic. The panic itself prints nothing.
fn without_panic<T>(work: impl FnOnce() -> T + panic::UnwindSafe) -> Result<T, String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(work);
    panic::set_hook(hook);
    result.map_err(|payload| match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(_) => "the driver lacks a function".to_owned(),
    })
}

/// The first GPU; with `ptx` its kernels come from that folder, else NVRTC compiles them.
///
/// # Errors
/// [`CudaError::NoDriver`] or [`CudaError::NoDevice`]. Never panics.
pub fn probe(ptx: Option<PathBuf>) -> Result<Gpu, CudaError> {
    // SAFETY: it loads libcuda.so, whose initialisers are the driver's own.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return Err(CudaError::NoDriver);
    }
    match without_panic(|| open(ptx)) {
        Ok(gpu) => gpu,
        Err(text) => Err(CudaError::NoDevice(text)),
    }
}

fn open(ptx: Option<PathBuf>) -> Result<Gpu, CudaError> {
    let absent = |error: cudarc::driver::DriverError| {
        let text = error
            .error_string()
            .map(|text| text.to_string_lossy().into_owned());
        CudaError::NoDevice(text.unwrap_or_else(|_| format!("{error:?}")))
    };
    let context = CudaContext::new(0).map_err(absent)?;
    let attribute = |attribute| context.attribute(attribute).map_err(absent);
    let multiprocessors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    let l2_bytes = attribute(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)?;
    let (major, minor) = context.compute_capability().map_err(absent)?;
    Ok(Gpu {
        stream: context.default_stream(),
        modules: RefCell::default(),
        ptx,
        name: context.name().map_err(absent)?,
        arch: format!("sm_{major}{minor}"),
        multiprocessors: multiprocessors.unsigned_abs() as usize,
        l2_bytes: l2_bytes.unsigned_abs() as usize,
        context,
    })
}

/// PTX of a source for an architecture such as `sm_90`, by NVRTC.
///
/// # Errors
/// [`CudaError::NoCompiler`] or [`CudaError::Compile`].
pub fn compile(source: Source, variant: Variant, arch: &str) -> Result<String, CudaError> {
    compiled(source, variant, arch).map(|ptx| ptx.to_src())
}

fn compiled(source: Source, variant: Variant, arch: &str) -> Result<Ptx, CudaError> {
    // SAFETY: it loads libnvrtc.so, whose initialisers are NVIDIA's own.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        return Err(CudaError::NoCompiler);
    }
    let architecture = arch.replace("sm_", "compute_");
    let mut options = vec![format!("--gpu-architecture={architecture}")];
    options.extend(variant.definitions());
    let options = CompileOptions {
        options,
        ..CompileOptions::default()
    };
    let failed = |log| CudaError::Compile {
        file: file_name(source, variant),
        arch: arch.to_owned(),
        log,
    };
    without_panic(|| nvrtc::compile_ptx_with_opts(source.text(), options))
        .map_err(&failed)?
        .map_err(|error| failed(error.to_string()))
}

/// The name of a source's PTX without its ending.
#[must_use]
pub fn file_name(source: Source, variant: Variant) -> String {
    format!("{}_{}", source.name(), variant.suffix())
}

impl Gpu {
    fn module(&self, source: Source, variant: Variant) -> Result<Arc<CudaModule>, CudaError> {
        if let Some(module) = self.modules.borrow().get(&(source, variant)) {
            return Ok(module.clone());
        }
        let ptx = match &self.ptx {
            None => compiled(source, variant, &self.arch)?,
            Some(folder) => {
                let path = folder
                    .join(file_name(source, variant))
                    .with_extension("ptx");
                let text = std::fs::read_to_string(&path).map_err(|error| CudaError::Ptx {
                    path: path.display().to_string(),
                    reason: error.to_string(),
                })?;
                Ptx::from_src(text)
            }
        };
        let what = format!("load {}", file_name(source, variant));
        let module = self.context.load_module(ptx).map_err(refused(&what))?;
        self.modules
            .borrow_mut()
            .insert((source, variant), module.clone());
        Ok(module)
    }

    /// The kernel of a launch.
    ///
    /// # Errors
    /// A source that does not compile or load.
    pub fn kernel(&self, launch: &Launch, variant: Variant) -> Result<Kernel, CudaError> {
        let module = self.module(launch.source, variant)?;
        let name = launch.name(variant);
        let function = module
            .load_function(&name)
            .map_err(refused(&format!("find {name}")))?;
        Ok(Kernel(function))
    }

    /// Zeroed memory.
    ///
    /// # Errors
    /// No room.
    pub fn zeros(&self, bytes: usize) -> Result<Buffer, CudaError> {
        let slice = self.stream.alloc_zeros(bytes.max(1));
        slice.map(Buffer).map_err(refused("give memory"))
    }

    /// A copy of bytes.
    ///
    /// # Errors
    /// No room.
    pub fn upload(&self, bytes: &[u8]) -> Result<Buffer, CudaError> {
        let slice = self.stream.clone_htod(bytes);
        slice.map(Buffer).map_err(refused("take bytes"))
    }

    /// Writes bytes to a buffer of that size.
    ///
    /// # Errors
    /// A failed copy.
    pub fn write(&self, bytes: &[u8], to: &mut Buffer) -> Result<(), CudaError> {
        self.stream
            .memcpy_htod(bytes, &mut to.0)
            .map_err(refused("take bytes"))
    }

    /// The bytes of a buffer.
    ///
    /// # Errors
    /// A failed copy, or an earlier launch that failed.
    pub fn download(&self, from: &Buffer) -> Result<Vec<u8>, CudaError> {
        let bytes = self
            .stream
            .clone_dtoh(&from.0)
            .map_err(refused("give bytes"))?;
        self.finish()?;
        Ok(bytes)
    }

    /// Copies a buffer to one of its size.
    ///
    /// # Errors
    /// A failed copy.
    pub fn copy(&self, from: &Buffer, to: &mut Buffer) -> Result<(), CudaError> {
        self.stream
            .memcpy_dtod(&from.0, &mut to.0)
            .map_err(refused("copy"))
    }

    /// Waits for all that was asked.
    ///
    /// # Errors
    /// A launch that failed.
    pub fn finish(&self) -> Result<(), CudaError> {
        self.stream.synchronize().map_err(refused("finish"))
    }

    /// Launches a kernel; it runs after what was asked before.
    ///
    /// # Errors
    /// A launch that the driver refuses.
    ///
    /// # Panics
    /// If a buffer is smaller than the kernel assumes.
    pub fn launch(
        &self,
        kernel: &Kernel,
        launch: &Launch,
        on: Operands<'_>,
    ) -> Result<(), CudaError> {
        on.check();
        let pointer = |buffer: Option<&Buffer>| match buffer {
            Some(buffer) => buffer.0.device_ptr(&self.stream).0,
            None => 0,
        };
        let (x, out) = (pointer(on.x), pointer(on.out));
        let base = pointer(on.base.map(|(buffer, _)| buffer));
        let message = match on.message {
            Some((buffer, _)) => pointer(Some(buffer)) + on.message_offset as u64,
            None => 0,
        };
        let work = pointer(Some(on.work.0));
        let [rows, channels, option, stage] = integers(on.shape, launch);
        let size = |n: usize| u32::try_from(n).expect("a grid of fewer than 2^32 blocks");
        let config = LaunchConfig {
            grid_dim: (size(launch.grid[0]), size(launch.grid[1]), 1),
            block_dim: (size(launch.threads), 1, 1),
            shared_mem_bytes: size(launch.shared_bytes),
        };
        let mut arguments = self.stream.launch_builder(&kernel.0);
        for address in [&x, &base, &out, &message, &work] {
            arguments.arg(address);
        }
        for number in [&rows, &channels, &option, &stage] {
            arguments.arg(number);
        }
        // SAFETY: every entry point has these nine parameters (DITPLAN_PARAMETERS); `check` holds the
        // buffers to the sizes that the kernels index; null stands where the kernel of this entry reads
        // nothing or tests for it. The buffers outlive the launch: freeing is ordered after it in the
        // same stream. No Rust reference to device memory exists, so writes through `&Buffer` alias none.
        let launched = unsafe { arguments.launch(config) };
        launched
            .map(|_| ())
            .map_err(refused(&format!("launch {}", launch.entry)))
    }

    /// Time from before to after some work, microseconds, by events.
    ///
    /// # Errors
    /// What the work or the events meet.
    pub fn time_us(&self, work: impl FnOnce() -> Result<(), CudaError>) -> Result<f64, CudaError> {
        let event = || {
            let flags = Some(CUevent_flags::CU_EVENT_DEFAULT);
            self.context
                .new_event(flags)
                .map_err(refused("make an event"))
        };
        let (before, after) = (event()?, event()?);
        before.record(&self.stream).map_err(refused("record"))?;
        work()?;
        after.record(&self.stream).map_err(refused("record"))?;
        let elapsed = before.elapsed_ms(&after).map_err(refused("time"))?;
        Ok(f64::from(elapsed) * 1e3)
    }
}

/// The four numbers of a launch.
fn integers(shape: Shape, launch: &Launch) -> [i32; 4] {
    [shape.rows(), shape.channels(), launch.option, launch.stage]
        .map(|n| i32::try_from(n).expect("rows, channels and options below 2^31"))
}
