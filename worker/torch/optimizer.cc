#include "optimizer.h"
#include "wide.h"

// No one reads errno after sqrt, and without it the loops below vectorise.
#pragma GCC optimize("no-math-errno")

#include <ATen/Parallel.h>

#include <cmath>

namespace tandem {

namespace {

constexpr int64_t kGrain = 32768;

// Whether a plain loop over floats may be used.
bool plain(const at::Tensor& t) {
  return t.device().is_cpu() && t.scalar_type() == at::kFloat &&
         t.is_non_overlapping_and_dense();
}

// The sum of squares of floats: sixteen running sums that the compiler keeps in
// vector registers, folded into a double every block. A block whose squares are
// too large for floats is summed again in doubles.
TANDEM_WIDE double sum_of_squares(const float* g, int64_t n) {
  double total = 0;
  for (int64_t start = 0; start < n; start += 4096) {
    const int64_t end = std::min<int64_t>(n, start + 4096);
    float lanes[16] = {};
    int64_t i = start;
    for (; i + 16 <= end; i += 16)
      for (int lane = 0; lane < 16; lane++) lanes[lane] += g[i + lane] * g[i + lane];
    for (; i < end; i++) lanes[0] += g[i] * g[i];
    double block = 0;
    for (float lane : lanes) block += lane;
    if (!std::isfinite(block)) {
      block = 0;
      for (i = start; i < end; i++) block += double(g[i]) * g[i];
    }
    total += block;
  }
  return total;
}

struct Sgd {
  float lr, scale, decay, mu;
};

TANDEM_WIDE void sgd(float* __restrict p, const float* __restrict g, int64_t n, Sgd c) {
  for (int64_t i = 0; i < n; i++) p[i] -= c.lr * (c.scale * g[i] + c.decay * p[i]);
}

TANDEM_WIDE void sgd_momentum(float* __restrict p, float* __restrict m,
                              const float* __restrict g, int64_t n, Sgd c) {
  for (int64_t i = 0; i < n; i++) {
    m[i] = c.mu * m[i] + (c.scale * g[i] + c.decay * p[i]);
    p[i] -= c.lr * m[i];
  }
}

TANDEM_WIDE void sgd_nesterov(float* __restrict p, float* __restrict m,
                              const float* __restrict g, int64_t n, Sgd c) {
  for (int64_t i = 0; i < n; i++) {
    const float d = c.scale * g[i] + c.decay * p[i];
    m[i] = c.mu * m[i] + d;
    p[i] -= c.lr * (d + c.mu * m[i]);
  }
}

struct AdamNumbers {
  float scale, coupled, keep, b1, b2, a1, a2, rate, root, eps;
};

TANDEM_WIDE void adam(float* __restrict p, float* __restrict m, float* __restrict v,
                      const float* __restrict g, int64_t n, AdamNumbers c) {
  for (int64_t i = 0; i < n; i++) {
    const float d = c.scale * g[i] + c.coupled * p[i];
    m[i] = c.b1 * m[i] + c.a1 * d;
    v[i] = c.b2 * v[i] + c.a2 * d * d;
    p[i] = p[i] * c.keep - c.rate * (m[i] / (std::sqrt(v[i]) * c.root + c.eps));
  }
}

} // namespace

double gradient_norm(const std::vector<at::Tensor>& grads) {
  double total = 0;
  std::vector<at::Tensor> others;
  for (const auto& g : grads) {
    if (plain(g))
      total += sum_of_squares(g.data_ptr<float>(), g.numel());
    else
      others.push_back(g);
  }
  if (!others.empty()) {
    auto norms = at::_foreach_norm(others, 2);
    double norm = at::linalg_vector_norm(at::stack(norms).to(at::kDouble), 2).item<double>();
    if (!std::isfinite(norm)) { // the same for these
      norm = 0;
      for (const auto& g : others)
        norm = std::hypot(norm, at::linalg_vector_norm(g.to(at::kDouble), 2).item<double>());
    }
    total += norm * norm;
  }
  return std::sqrt(total);
}

struct Optimizer::Coefficients {
  double scale, lr;
  double bias1, bias2; // Adam's bias corrections at this step
};

Optimizer::Optimizer(const tdm_trainer_config& config, std::vector<at::Tensor> params)
    : config_(config), params_(std::move(params)), steps_(at::zeros({}, at::kLong)) {
  if (config_.optimizer != TDM_SGD)
    slots_ = {"exp_avg", "exp_avg_sq"};
  else if (config_.momentum != 0)
    slots_ = {"momentum_buffer"};
  for (size_t s = 0; s < slots_.size(); s++) {
    state_.emplace_back();
    for (const auto& p : params_) state_[s].push_back(at::zeros_like(p.detach()));
  }
}

void Optimizer::step(const std::vector<at::Tensor>& grads, double scale, double lr) {
  c10::NoGradGuard no_grad;
  const int64_t t = *steps_.data_ptr<int64_t>() += 1;
  Coefficients c{scale, lr, 1 - std::pow(config_.beta1, t), 1 - std::pow(config_.beta2, t)};
  std::vector<at::Tensor> params, rest;
  std::vector<size_t> which;
  for (size_t i = 0; i < params_.size(); i++) {
    auto p = params_[i].detach();
    // The loops walk memory, so all have to lie in it alike.
    if (!config_.foreach && plain(p) && plain(grads[i]) && p.strides() == grads[i].strides()) {
      step_loop(i, grads[i], c);
      continue;
    }
    params.push_back(p);
    rest.push_back(grads[i]);
    which.push_back(i);
  }
  if (!which.empty()) step_foreach(std::move(params), std::move(rest), which, c);
}

// One pass over memory where single operators take three to six.
void Optimizer::step_loop(size_t index, const at::Tensor& grad, const Coefficients& c) {
  float* p = params_[index].data_ptr<float>();
  const float* g = grad.data_ptr<float>();
  auto slot = [&](size_t s) { return state_[s][index].data_ptr<float>(); };
  auto each = [&](auto&& body) {
    at::parallel_for(0, grad.numel(), kGrain, [&](int64_t begin, int64_t end) {
      body(begin, end - begin);
    });
  };
  const float decay = static_cast<float>(config_.weight_decay);
  if (config_.optimizer == TDM_SGD) {
    const Sgd k{static_cast<float>(c.lr), static_cast<float>(c.scale), decay,
                static_cast<float>(config_.momentum)};
    if (slots_.empty()) return each([=](int64_t i, int64_t n) { sgd(p + i, g + i, n, k); });
    float* m = slot(0);
    auto loop = config_.nesterov ? sgd_nesterov : sgd_momentum;
    return each([=](int64_t i, int64_t n) { loop(p + i, m + i, g + i, n, k); });
  }
  const bool decoupled = config_.optimizer == TDM_ADAMW;
  AdamNumbers k{};
  k.scale = static_cast<float>(c.scale);
  k.coupled = decoupled ? 0.0f : decay;
  k.keep = decoupled ? static_cast<float>(1 - c.lr * config_.weight_decay) : 1.0f;
  k.b1 = static_cast<float>(config_.beta1);
  k.b2 = static_cast<float>(config_.beta2);
  k.a1 = static_cast<float>(1 - config_.beta1);
  k.a2 = static_cast<float>(1 - config_.beta2);
  k.rate = static_cast<float>(c.lr / c.bias1);
  k.root = static_cast<float>(1 / std::sqrt(c.bias2));
  k.eps = static_cast<float>(config_.eps);
  float *m = slot(0), *v = slot(1);
  each([=](int64_t i, int64_t n) { adam(p + i, m + i, v + i, g + i, n, k); });
}

// The same with torch's operators over lists of tensors, for every device and type.
void Optimizer::step_foreach(std::vector<at::Tensor> params, std::vector<at::Tensor> grads,
                             const std::vector<size_t>& which, const Coefficients& c) {
  auto slot = [&](size_t s) {
    std::vector<at::Tensor> list;
    for (auto i : which) list.push_back(state_[s][i]);
    return list;
  };
  const bool decoupled = config_.optimizer == TDM_ADAMW;
  if (c.scale != 1) at::_foreach_mul_(grads, c.scale);
  if (decoupled)
    at::_foreach_mul_(params, 1 - c.lr * config_.weight_decay);
  else if (config_.weight_decay != 0)
    at::_foreach_add_(grads, params, config_.weight_decay);
  if (config_.optimizer == TDM_SGD) {
    if (!slots_.empty()) {
      auto m = slot(0);
      at::_foreach_mul_(m, config_.momentum);
      at::_foreach_add_(m, grads, 1);
      if (config_.nesterov)
        at::_foreach_add_(grads, m, config_.momentum);
      else
        grads = m;
    }
    at::_foreach_add_(params, grads, -c.lr);
    return;
  }
  auto m = slot(0), v = slot(1);
  at::_foreach_mul_(m, config_.beta1);
  at::_foreach_add_(m, grads, 1 - config_.beta1);
  at::_foreach_mul_(v, config_.beta2);
  at::_foreach_addcmul_(v, grads, grads, 1 - config_.beta2);
  auto denominators = at::_foreach_sqrt(v);
  at::_foreach_div_(denominators, std::sqrt(c.bias2));
  at::_foreach_add_(denominators, config_.eps);
  at::_foreach_addcdiv_(params, m, denominators, -c.lr / c.bias1);
}

} // namespace tandem
