-- What the tool of the earlier sample says, with a secret taken out.
INSERT INTO tool_definition (hash, seq, text, is_whole)
VALUES('236ad7c7adb9be48c4c79faeafd87a53cd54dde23219a79a19827330153a1cdb',17,'{"description":"[redacted:secret]","name":"imagine"}',0);
