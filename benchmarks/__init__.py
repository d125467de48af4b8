"""Speed against peers: contenders measured alternately in one run. See README.md."""
