// The C face of Tandem's C++ on libtorch: opaque handles, a status from every
// call, no exception and no Go pointer kept after a call returns.
#ifndef TANDEM_TORCH_SHIM_H
#define TANDEM_TORCH_SHIM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  TDM_OK = 0,
  TDM_ERROR = 1,
  TDM_SHAPE = 2,
  TDM_MODEL = 3,
  TDM_NOT_TORCHSCRIPT = 4,
  TDM_PEER_LOST = 5,
  TDM_TIMEOUT = 6,
  TDM_ABORTED = 7,
  TDM_LABEL = 8,
  TDM_STATE = 9,
  TDM_DEVICE = 10,
  TDM_TORN = 11,
  TDM_OPERATOR = 12,
} tdm_code;

// The outcome of a call; text is empty when code is TDM_OK. Returned by value,
// because a goroutine may be on another thread at its next C call.
typedef struct {
  int32_t code;
  char text[1020];
} tdm_status;

// A device is -1 for the CPU or the index of a CUDA device, as in gotch.
typedef int32_t tdm_device;

// gotch's `tensor` and `module`: at::Tensor* and torch::jit::Module*.
typedef void *tdm_tensor;
typedef void *tdm_module;

// A list of named tensors on the host.
typedef struct tdm_tensors tdm_tensors;
typedef struct {
  const char *name;
  const char *dtype; // as safetensors names it: F32, I64, ...
  const int64_t *shape;
  int32_t dims;
  const uint8_t *data;
  size_t bytes;
} tdm_tensor_view;

tdm_tensors *tdm_tensors_new(void);
void tdm_tensors_free(tdm_tensors *list);
size_t tdm_tensors_len(const tdm_tensors *list);
tdm_tensor_view tdm_tensors_at(const tdm_tensors *list, size_t i);
tdm_status tdm_tensors_add(tdm_tensors *list, const char *name, const char *dtype,
                           const int64_t *shape, int32_t dims, const void *data,
                           size_t bytes);

// ---- process ----
tdm_status tdm_init(int32_t threads, int32_t deterministic);
// Arms a fault inside the step: see worker/fault. Before any training.
void tdm_fault_arm(const char *point, int64_t step, const char *action);
// A file to rename when one of them breaks this process.
void tdm_fault_file(const char *taken, const char *fired);
typedef struct {
  char version[64];
  int32_t cuda;          // compiled with CUDA and NCCL
  int32_t gloo;          // compiled with Gloo
  int32_t nccl_version;  // as NCCL_VERSION_CODE, 0 without
} tdm_build;
tdm_build tdm_build_info(void);
typedef struct {
  char name[256];
  int64_t memory_bytes;
  int32_t major, minor;
} tdm_device_info;
tdm_status tdm_device_count(int32_t *count);
tdm_status tdm_device_get(int32_t index, tdm_device_info *out);
// Best time in seconds of a few n*n float32 matrix products.
tdm_status tdm_matmul_seconds(int32_t n, double *seconds);

// ---- tensors ----
// Row-major float32 from the host, copied.
tdm_status tdm_tensor_from_f32(const float *data, const int64_t *shape, int32_t dims,
                               tdm_device device, tdm_tensor *out);
void tdm_tensor_free(tdm_tensor t);
// The tensor as a list of one, contiguous on the host.
tdm_status tdm_tensor_to_host(tdm_tensor t, tdm_tensors **out);

// ---- modules ----
typedef struct tdm_unit tdm_unit; // a compilation unit shared by one tree
tdm_unit *tdm_unit_new(void);
void tdm_unit_free(tdm_unit *unit);
tdm_status tdm_module_new(tdm_unit *unit, const char *name, tdm_module *out);
void tdm_module_free(tdm_module m);
tdm_status tdm_module_add_tensor(tdm_module m, const char *name, const int64_t *shape,
                                 int32_t dims, const float *data, int32_t is_buffer,
                                 int32_t is_integer);
tdm_status tdm_module_add_child(tdm_module m, const char *name, tdm_module child);
tdm_status tdm_module_define(tdm_module m, const char *source);
// Bytes that the caller keeps.
typedef struct {
  const uint8_t *data;
  size_t bytes;
} tdm_view;
// Looks at a file before it is loaded, whose data.pkl and constants.pkl were looked at already: code
// and objects are made as loading makes them, and nothing of them runs. TDM_OPERATOR for an
// operator, a class or a function that is not among the lines of allowed; the text is its name, and
// in a second line where it stands. TDM_NOT_TORCHSCRIPT for a tensor that lies outside of its bytes,
// and for an object in the place of another.
tdm_status tdm_module_audit(tdm_view file, tdm_view data, tdm_view constants, const char *allowed);
// The names of all registered operators, one a line, for tdm_bytes_free.
tdm_status tdm_operators(uint8_t **data, size_t *bytes);
// Of a file of this many bytes, when it is loaded: it has a forward method, its tensors are no larger
// than what is stored of them, and libtorch has compiled nothing but what is among the lines of
// allowed.
tdm_status tdm_module_check(tdm_module m, uint64_t bytes, const char *allowed);
tdm_status tdm_module_to(tdm_module m, tdm_device device);
// Parameters and buffers of floating point become doubles.
tdm_status tdm_module_double(tdm_module m);
tdm_status tdm_module_train(tdm_module m, int32_t on);
tdm_status tdm_module_save(tdm_module m, uint8_t **data, size_t *bytes);
void tdm_bytes_free(uint8_t *data);
// The module's parameters, buffers or (kind 2) both, parameters first.
tdm_status tdm_module_tensors(tdm_module m, int32_t kind, tdm_tensors **out);
tdm_status tdm_module_load(tdm_module m, const tdm_tensors *list);
tdm_status tdm_module_forward(tdm_module m, tdm_tensor in, tdm_tensor *out);

// ---- process groups ----
typedef struct tdm_group tdm_group;
// A rank that has not met the others yet. It may be aborted from now on.
tdm_group *tdm_group_new(int32_t rank, int32_t size, tdm_device device);
typedef struct {
  const char *bind_address;
  int64_t timeout_ms;
  int32_t plain;       // values may go from host to host in clear
  const char *host;    // for tests: added to the name of this host
  const char *segment; // name of the memory that this rank offers to the others of its host
  int32_t no_segment;  // for tests: this rank cannot share memory
  int32_t no_room;     // for tests: it cannot share that of its gradients
} tdm_group_config;
tdm_status tdm_group_join(tdm_group *group, uintptr_t rendezvous,
                          const tdm_group_config *config);
// How values travel: "shared memory", "gloo", "gloo (why not shared memory)" ...
const char *tdm_group_transport(const tdm_group *group);
// Bytes of gradients that are reduced where they lie.
int64_t tdm_group_in_place(const tdm_group *group);
// How long this rank has been waiting for the others now; 0: it is not.
int64_t tdm_group_waiting_ns(const tdm_group *group);
void tdm_group_abort(tdm_group *group, const char *why);
// Whether an abort wakes also who has sent or received a part of a message over gloo.
int32_t tdm_wakes_under_way(void);
void tdm_group_free(tdm_group *group);
tdm_status tdm_group_all_reduce(tdm_group *group, double *values, size_t n);
// Everyone gets root's bytes: free *out with tdm_bytes_free.
tdm_status tdm_group_broadcast(tdm_group *group, int32_t root, const uint8_t *data, size_t n,
                               uint8_t **out, size_t *out_n);

// ---- training ----
enum { TDM_CROSS_ENTROPY = 0, TDM_MSE = 1 };
enum { TDM_SGD = 0, TDM_ADAM = 1, TDM_ADAMW = 2 };

typedef struct {
  int32_t loss, optimizer;
  double momentum, weight_decay, beta1, beta2, eps;
  int32_t nesterov;
  double clip_norm; // 0: no clipping
  int64_t bucket_bytes; // 0: as suits the device
  int32_t foreach; // the _foreach_ ops even where an own loop would do
} tdm_trainer_config;

typedef struct tdm_trainer tdm_trainer;
tdm_status tdm_trainer_new(tdm_module m, tdm_device device, tdm_group *group,
                           const tdm_trainer_config *config, tdm_trainer **out);
void tdm_trainer_free(tdm_trainer *trainer);
tdm_status tdm_trainer_set_group(tdm_trainer *trainer, tdm_group *group);
tdm_status tdm_trainer_sync_state(tdm_trainer *trainer, int32_t root);

typedef struct {
  double loss_sum, grad_norm;
  int64_t rows;
  int32_t finite;
  int32_t applied; // also filled when the step failed
  // Nanoseconds: of forward, of backward without waiting, of waiting for the
  // other ranks, and of the update with its checks.
  int64_t forward_ns, backward_ns, exposed_ns, optimizer_ns;
} tdm_step_result;
// Exactly one of labels and targets is given, as the loss wants.
tdm_status tdm_trainer_step(tdm_trainer *trainer, const float *x, const int64_t *x_shape,
                            int32_t x_dims, const int64_t *labels, const float *targets,
                            const int64_t *y_shape, int32_t y_dims, double loss_scale,
                            int32_t micro_batches, double lr, int64_t seed,
                            tdm_step_result *out);

typedef struct {
  double loss_sum, squared_error_sum, abs_error_sum;
  int64_t rows, correct, elements;
} tdm_eval_result;
tdm_status tdm_trainer_evaluate(tdm_trainer *trainer, const float *x, const int64_t *x_shape,
                                int32_t x_dims, const int64_t *labels, const float *targets,
                                const int64_t *y_shape, int32_t y_dims,
                                tdm_eval_result *out);
tdm_status tdm_trainer_state(tdm_trainer *trainer, tdm_tensors **out);
// The named part of the state only; TDM_STATE for a name that is none.
tdm_status tdm_trainer_state_of(tdm_trainer *trainer, const char **names, size_t n,
                                tdm_tensors **out);
// The state where it lies: names, types and sizes are of use, the data are not.
tdm_status tdm_trainer_state_sizes(tdm_trainer *trainer, tdm_tensors **out);
tdm_status tdm_trainer_load_state(tdm_trainer *trainer, const tdm_tensors *list);
// A hash of all bits of the state, and whether all its numbers are finite.
tdm_status tdm_trainer_fingerprint(tdm_trainer *trainer, uint64_t *out);
tdm_status tdm_trainer_finite(tdm_trainer *trainer, int32_t *out);

// ---- served by Go ----
// The rendezvous behind the c10d store. Zero is success; else *error holds a
// message made by malloc. Get waits for the key and makes *value by malloc.
int tandemRendezvousSet(uintptr_t rendezvous, char *key, uint8_t *value, size_t n,
                        char **error);
// Opens the memory that another rank of this host offers: a descriptor, or -1 with a text to be freed.
int tandemSegmentOpen(uintptr_t rendezvous, int32_t pid, int32_t fd, char **error);
int tandemRendezvousGet(uintptr_t rendezvous, char *key, int64_t timeout_ms,
                        uint8_t **value, size_t *n, char **error);

#ifdef __cplusplus
}
#endif

#endif
