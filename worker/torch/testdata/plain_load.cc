// Loads a TorchScript file with plain libtorch and nothing of Tandem, and
// prints what it answers.
//
//   plain_load model.pt 2,1,8,8 [values.f32]
//
// The input of the given shape is read as little-endian float32 from the file
// or from standard input. The first line printed is the output's shape as
// numbers between commas; then one value a line, in full precision.
#include <torch/script.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::cerr << "usage: plain_load model.pt SHAPE [values.f32]\n";
    return 2;
  }
  std::vector<int64_t> shape;
  std::stringstream sizes(argv[2]);
  for (std::string size; std::getline(sizes, size, ',');) shape.push_back(std::stoll(size));
  auto x = torch::empty(shape);
  std::ifstream file;
  if (argc > 3) file.open(argv[3], std::ios::binary);
  std::istream& in = argc > 3 ? file : std::cin;
  if (!in.read(static_cast<char*>(x.data_ptr()), x.nbytes())) {
    std::cerr << "the input is shorter than its shape\n";
    return 1;
  }

  torch::NoGradGuard no_grad;
  auto model = torch::jit::load(argv[1]);
  model.eval();
  auto out = model.forward({x}).toTensor().contiguous();

  for (int64_t i = 0; i < out.dim(); i++) std::printf("%s%lld", i ? "," : "", (long long)out.size(i));
  std::printf("\n");
  for (int64_t i = 0; i < out.numel(); i++) std::printf("%.9g\n", out.data_ptr<float>()[i]);
  return 0;
} catch (const std::exception& e) {
  std::cerr << e.what() << "\n";
  return 1;
}
