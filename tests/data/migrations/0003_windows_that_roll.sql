INSERT INTO budget VALUES(3,'servers.images calls/24h');
