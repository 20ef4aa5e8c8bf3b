//! One tensor's state on a GPU: its base, scratch memory, and the kernels that move them.

use super::device::{Buffer, Gpu, Kernel, Operands};
use super::error::CudaError;
use super::geometry::{Geometry, Launch};
use super::source::Variant;
use crate::compressor::Compressor;
use crate::wire::{Order, Shape};

/// Encoder and decoder of one tensor. Both sides of a message have one.
#[derive(Debug)]
pub struct Codec<'g> {
    gpu: &'g Gpu,
    compressor: Compressor,
    geometry: Geometry,
    variant: Variant,
    /// None for order 0.
    base: Option<Buffer>,
    work: Buffer,
    raw: (Launch, Kernel),
    encode: Vec<(Launch, Kernel)>,
    decode: Vec<(Launch, Kernel)>,
}

impl<'g> Codec<'g> {
    /// A codec whose base is 0.
    ///
    /// # Errors
    /// Kernels that do not load, or no memory.
    ///
    /// # Panics
    /// For [`Order::Second`], which runs on the CPU only.
    pub fn new(
        gpu: &'g Gpu,
        compressor: Compressor,
        shape: Shape,
        variant: Variant,
        order: Order,
    ) -> Result<Self, CudaError> {
        assert!(
            order != Order::Second,
            "the GPU keeps one base: order 0 or 1"
        );
        let geometry = Geometry {
            shape,
            multiprocessors: gpu.multiprocessors,
        };
        let loaded = |launches: Vec<Launch>| -> Result<Vec<_>, CudaError> {
            let kernels = launches.into_iter().map(|launch| {
                let kernel = gpu.kernel(&launch, variant)?;
                Ok((launch, kernel))
            });
            kernels.collect()
        };
        let base = match order {
            Order::Zero => None,
            _ => Some(gpu.zeros(base_bytes(variant, shape))?),
        };
        let raw = geometry.raw();
        Ok(Self {
            base,
            work: gpu.zeros(geometry.work_bytes(compressor))?,
            raw: (raw.clone(), gpu.kernel(&raw, variant)?),
            encode: loaded(geometry.encode(compressor))?,
            decode: loaded(geometry.decode(compressor))?,
            gpu,
            compressor,
            geometry,
            variant,
        })
    }

    /// Bytes of a message.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        self.compressor.wire_bytes(self.geometry.shape)
    }

    /// The base, as `kernels/cuda/common.cuh` describes it.
    #[must_use]
    pub fn base(&self) -> Option<&Buffer> {
        self.base.as_ref()
    }

    fn operands(&self) -> Operands<'_> {
        let shape = self.geometry.shape;
        let bytes = base_bytes(self.variant, shape);
        Operands {
            shape,
            x: None,
            base: self.base.as_ref().map(|base| (base, bytes)),
            out: None,
            message: None,
            message_offset: 0,
            work: (&self.work, self.geometry.work_bytes(self.compressor)),
        }
    }

    fn run(&self, kernels: &[(Launch, Kernel)], on: Operands<'_>) -> Result<(), CudaError> {
        let mut launches = kernels.iter();
        launches.try_for_each(|(launch, kernel)| self.gpu.launch(kernel, launch, on))
    }

    /// A raw step: the base becomes the activation. Nothing for order 0.
    ///
    /// # Errors
    /// A launch that the driver refuses.
    pub fn start(&mut self, x: &Buffer) -> Result<(), CudaError> {
        if self.base.is_none() {
            return Ok(());
        }
        let on = Operands {
            x: Some(x),
            ..self.operands()
        };
        self.gpu.launch(&self.raw.1, &self.raw.0, on)
    }

    /// Writes the message of an activation from `offset` bytes of `message` on, and moves the base.
    ///
    /// # Errors
    /// A launch that the driver refuses.
    ///
    /// # Panics
    /// If a buffer is too small.
    pub fn encode(
        &mut self,
        x: &Buffer,
        message: &Buffer,
        offset: usize,
        out: Option<&Buffer>,
    ) -> Result<(), CudaError> {
        let on = Operands {
            x: Some(x),
            out,
            message: Some((message, self.message_bytes())),
            message_offset: offset,
            ..self.operands()
        };
        self.run(&self.encode, on)
    }

    /// Reads a message from `offset` bytes of `message` on, and moves the base.
    ///
    /// # Errors
    /// A launch that the driver refuses.
    ///
    /// # Panics
    /// If a buffer is too small.
    pub fn decode(
        &mut self,
        message: &Buffer,
        offset: usize,
        out: Option<&Buffer>,
    ) -> Result<(), CudaError> {
        let on = Operands {
            out,
            message: Some((message, self.message_bytes())),
            message_offset: offset,
            ..self.operands()
        };
        self.run(&self.decode, on)
    }
}

/// Bytes of a base in memory.
pub(super) fn base_bytes(variant: Variant, shape: Shape) -> usize {
    usize::try_from(variant.base.bytes(shape).get()).expect("a base in memory fits in memory")
}
