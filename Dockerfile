# The demo in a container.
#   CPU:   docker build -t stylecore . && docker run -p 7860:7860 stylecore
#   CUDA:  docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 -t stylecore .
#          docker run --gpus all -p 7860:7860 stylecore
FROM python:3.12-slim

# PyPI's own torch brings CUDA along, several GB of it: the index decides which torch it is.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# glibc would keep a heap for each of the server's threads.
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1 MALLOC_ARENA_MAX=2
RUN pip install torch torchvision --index-url ${TORCH_INDEX}

WORKDIR /app
COPY . .
RUN pip install --editable ".[demo,export]"

# Not root; uploads, results and shared results live in /tmp and are deleted by the demo.
RUN useradd --create-home demo
USER demo
EXPOSE 7860
CMD ["stylecore", "demo", "--host", "0.0.0.0", "--port", "7860"]
