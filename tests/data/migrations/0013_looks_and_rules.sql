-- The rules of the first start, kept later, without a token that stood in them.
INSERT INTO policy_file (revision, seq, text, is_whole) VALUES('eb8673cab9f2dcd45386dd1545d33398d3ff66b0892e29af027eda9410f5ddd1',2,'servers: {images: {url: "http://images.internal/mcp", headers: {X-Api-Key: "********"}}}
',0);
