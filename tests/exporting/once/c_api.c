/* Loads a SavedModel with TensorFlow's C API, as TensorFlow Serving does, and runs it once.

   c_api FOLDER INPUT OUTPUT N BYTES [HEIGHT WIDTH CHANNELS] < data
   INPUT and OUTPUT are the operation:index of the signature's tensors. If BYTES is 1, the data are an image file, of
   which a batch of N copies is made; if it is 0, N float32 images of the given shape. The float32 values of the output
   are written to stdout. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

static void check(TF_Status *status, const char *what) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s: %s\n", what, TF_Message(status));
    exit(1);
  }
}

static TF_Output named(TF_Graph *graph, const char *name) {
  char operation[256];
  const char *colon = strrchr(name, ':');
  snprintf(operation, sizeof operation, "%.*s", (int)(colon - name), name);
  TF_Output output = {TF_GraphOperationByName(graph, operation), atoi(colon + 1)};
  if (output.oper == NULL) {
    fprintf(stderr, "no operation %s\n", operation);
    exit(1);
  }
  return output;
}

int main(int argc, char **argv) {
  int64_t n = atoi(argv[4]);
  int bytes = atoi(argv[5]);
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, "load");

  static char buffer[1 << 26];
  size_t length = fread(buffer, 1, sizeof buffer, stdin);
  TF_Tensor *input;
  if (bytes) {
    int64_t shape[] = {n};
    input = TF_AllocateTensor(TF_STRING, shape, 1, n * sizeof(TF_TString));
    TF_TString *strings = TF_TensorData(input);
    for (int64_t i = 0; i < n; i++) {
      TF_TString_Init(&strings[i]);
      TF_TString_Copy(&strings[i], buffer, length);
    }
  } else {
    int64_t shape[] = {n, atoi(argv[6]), atoi(argv[7]), atoi(argv[8])};
    input = TF_AllocateTensor(TF_FLOAT, shape, 4, length);
    memcpy(TF_TensorData(input), buffer, length);
  }
  TF_Output from = named(graph, argv[2]), to = named(graph, argv[3]);
  TF_Tensor *answer = NULL;
  TF_SessionRun(session, NULL, &from, &input, 1, &to, &answer, 1, NULL, 0, NULL, status);
  check(status, "run");
  fwrite(TF_TensorData(answer), 1, TF_TensorByteSize(answer), stdout);
  TF_CloseSession(session, status);
  check(status, "close");
  return argc < 6;
}
