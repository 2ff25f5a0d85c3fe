"""Strict readers, real data sets and pure transforms."""

from purenet.data.checking import check_data as check_data
from purenet.data.digit_scans import digits as digits
from purenet.data.downloading import download as download
from purenet.data.errors import DataError as DataError
from purenet.data.errors import DownloadError as DownloadError
from purenet.data.idx_files import read_idx as read_idx
from purenet.data.labels import one_hot as one_hot
from purenet.data.mnist_files import mnist as mnist
from purenet.data.scaling import RangeScaler as RangeScaler
from purenet.data.scaling import Scaler as Scaler
from purenet.data.scaling import minmax as minmax
from purenet.data.scaling import standardize as standardize
from purenet.data.splitting import split as split

__all__ = [
    "DataError",
    "DownloadError",
    "RangeScaler",
    "Scaler",
    "check_data",
    "digits",
    "download",
    "minmax",
    "mnist",
    "one_hot",
    "read_idx",
    "split",
    "standardize",
]
