"""A PyTorch text model -> model.onnx with tokenizer.json. Usage: python from_pytorch_text.py FOLDER

pip install torch onnx onnxscript tokenizers
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from expected import write_expected, write_labels

folder = Path(sys.argv[1])
texts = ["a fine film", "a great plot", "what a dull film", "an awful plot, dull", "great, fine"]
good = torch.tensor([1, 1, 0, 0, 1])

# A tokenizer. With a model from a hub, take the tokenizer.json that came with it.
tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=special, show_progress=False)
tokenizer.train_from_iterator(texts, trainer)
tokenizer.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
)


class Sentiment(torch.nn.Module):
    """The encoder with its head, from token ids to probabilities, in one graph."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(tokenizer.get_vocab_size(), 16)
        self.head = torch.nn.Linear(16, 2)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask.unsqueeze(-1).float()
        mean = (self.embedding(input_ids) * mask).sum(1) / mask.sum(1)
        return torch.softmax(self.head(mean), dim=1)


def encode(batch):
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    rows = tokenizer.encode_batch(batch)
    tokenizer.no_padding()
    ids = torch.tensor([row.ids for row in rows])
    return ids, torch.tensor([row.attention_mask for row in rows])


torch.manual_seed(0)
model = Sentiment()
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
for _ in range(50):
    optimizer.zero_grad()
    torch.nn.functional.nll_loss(model(*encode(texts)).log(), good).backward()
    optimizer.step()

# Export, with the number of texts and their length left open.
batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence")
torch.onnx.export(
    model.eval(),
    encode(texts),
    folder / "model.onnx",
    input_names=["input_ids", "attention_mask"],
    output_names=["probabilities"],
    dynamic_shapes=({0: batch, 1: sequence}, {0: batch, 1: sequence}),
    dynamo=True,
    external_data=False,
    opset_version=18,
)
tokenizer.save(str(folder / "tokenizer.json"))

write_labels(folder, ["bad", "good"])
ids, mask = encode(["a great film", "dull, awful plot", "fine"])
with torch.no_grad():
    write_expected(
        folder,
        {"input_ids": ids.numpy(), "attention_mask": mask.numpy()},
        {"probabilities": model(ids, mask).numpy()},
    )
