"""What article 1 reports. Source: https://qiita.com/jw-automation/items/7bbe1c872fcec7fa6c1d"""

ACCURACY = {"cnn": 0.9901, "l2softmax": 0.9931}  # of the test images
WRONG = 69  # of the 10,000 test images, the L2-constrained CNN's
# The share that LOF accepts (the article's words: judged normal), by space and by the contamination that it states.
ACCEPTED = {
    ("input", "0.001"): {"MNIST test": 0.99, "Fashion-MNIST": 0.70, "CIFAR-10": 0.16},
    ("l2softmax", "0.001"): {"MNIST test": 0.99, "Fashion-MNIST": 0.12, "CIFAR-10": 0.05},
    ("l2softmax", "0.01"): {"MNIST test": 0.96, "Fashion-MNIST": 0.02, "CIFAR-10": 0.00},
}
