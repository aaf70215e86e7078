"""The methods: how the labels of several levels of theory become one potential."""
