// SPDX-License-Identifier: MIT
// Built with more instructions (AVX2, FMA, F16C on x86-64).
#include "step.hpp"

outcome train_wide() { return train(); }
