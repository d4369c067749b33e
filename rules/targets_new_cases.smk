"""What a prediction of new cases is asked for: predict, and validate where there are labels."""


localrules:
    all,
    weights,


ALL = [*rules.predict.output, *(rules.validate.output if config["labels"] else [])]
